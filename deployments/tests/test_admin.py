import pytest
from django.urls import reverse

from deployments import actions
from deployments.models import Stack, Status
from deployments.tests.conftest import fresh
from events.models import Event


def act(person, model: str, action: str, *rows):
    url = reverse(f"admin:deployments_{model}_changelist")
    return person.client.post(url, {"action": action, "_selected_action": [row.pk for row in rows]}, follow=True)


@pytest.mark.parametrize("model", ["stack", "release", "deployment"])
def test_the_platform_admin_reads_every_page_and_no_secret_is_there(platform_admin, acme_deployment, model):
    assert platform_admin.get(reverse(f"admin:deployments_{model}_changelist")).status_code == 200
    row = {"stack": acme_deployment.release.stack, "release": acme_deployment.release, "deployment": acme_deployment}
    page = platform_admin.get(reverse(f"admin:deployments_{model}_change", args=[row[model].pk]))
    assert page.status_code == 200
    assert b"Save" not in page.content


def test_a_draft_is_approved_by_an_action_and_then_frozen(platform_admin):
    draft = Stack.objects.create(slug="x", name="X", steps=[{"name": "a", "command": ["true"]}])
    assert b"Save" in platform_admin.get(reverse("admin:deployments_stack_change", args=[draft.pk])).content
    assert b"is approved." in act(platform_admin, "stack", "approve", draft).content
    assert Stack.objects.offered().get().approved_by == platform_admin.user
    assert b"is already approved" in act(platform_admin, "stack", "approve", draft).content
    act(platform_admin, "stack", "make_next_version", draft)
    assert Stack.objects.filter(slug="x").count() == 2


def test_a_draft_with_a_wrong_step_is_refused_by_the_form(platform_admin):
    page = platform_admin.post(
        reverse("admin:deployments_stack_add"),
        {"slug": "x", "name": "X", "steps": '[{"name": "a", "command": "rm -rf /"}]', "parameters": "[]"},
    )
    assert b"Input should be a valid list" in page.content
    assert not Stack.objects.exists()


def test_a_stack_that_there_is_already_is_refused_with_a_reason(platform_admin, stack):
    facts = {"slug": stack.slug, "name": "X", "steps": '[{"name": "a", "command": ["true"]}]', "parameters": "[]"}
    page = platform_admin.client.post(reverse("admin:deployments_stack_add"), facts, follow=True)
    assert b"already exists" in page.content
    assert Stack.objects.count() == 1


def test_a_draft_is_changed_and_deleted_by_actions_that_know_what_was_approved_meanwhile(platform_admin):
    draft = Stack.objects.create(slug="x", name="X", steps=[{"name": "a", "command": ["true"]}])
    stale = Stack.objects.get(pk=draft.pk)
    page = reverse("admin:deployments_stack_change", args=[draft.pk])
    platform_admin.post(page, {"name": "Y", "steps": '[{"name": "b", "command": ["true"]}]', "parameters": "[]"})
    draft.refresh_from_db()
    assert draft.name == "Y"
    actions.approve(draft, by=platform_admin.user)
    for change in (actions.save_draft, actions.delete_draft):
        with pytest.raises(actions.NotADraft, match="make its next version"):
            change(stale)
    other = Stack.objects.create(slug="y", name="Y", steps=[{"name": "a", "command": ["true"]}])
    platform_admin.post(reverse("admin:deployments_stack_delete", args=[other.pk]), {"post": "yes"})
    assert not Stack.objects.filter(slug="y").exists()


def test_cancel_and_retry_go_through_the_actions(platform_admin, acme_deployment):
    act(platform_admin, "deployment", "cancel", acme_deployment)
    assert fresh(acme_deployment).status == Status.CANCELLED
    last = Event.objects.with_scopes_disabled().filter(type="deployment_update").order_by("-id")[0]
    assert last.summary == "Ada cancelled web #1"
    assert (
        b"only a failed or lost one can be retried"
        in act(platform_admin, "deployment", "retry", acme_deployment).content
    )


def test_alice_is_no_platform_admin(alice, acme_deployment):
    page = alice.get(reverse("admin:deployments_deployment_changelist"))
    assert page.status_code == 302
