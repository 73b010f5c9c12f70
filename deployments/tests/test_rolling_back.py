"""Rolling back: a completed deployment's release runs again as it was, and only if it still is what it was."""

import pytest
from django_scopes import scope, scopes_disabled

from deployments import actions, leases, sealing
from deployments.models import Deployment, Release, Status, StepStatus
from deployments.tests.conftest import ended, fresh, log_of, make_stack, python
from events.models import Event

LIST = "/t/acme/deployments/"


def complete(deployment: Deployment) -> Deployment:
    """As a runner would that claims it next."""
    lease = leases.claim("runner")
    leases.step_begins(lease, 0)
    leases.step_ends(lease, 0, StepStatus.COMPLETED, 0)
    leases.complete(lease)
    assert lease.deployment_id == deployment.pk
    return fresh(deployment)


@pytest.fixture
def completed(acme_deployment) -> Deployment:
    return complete(acme_deployment)


def newest(tenant) -> Deployment:
    with scope(tenant=tenant):
        return Deployment.objects.select_related("release", "rollback_of").order_by("number").last()


def test_rolling_back_runs_the_past_release_again_and_not_the_latest_version(
    acme, alice, stack, completed, platform_admin
):
    draft = actions.new_version(stack)
    draft.steps = [{"name": "other", "command": ["false"]}]
    actions.approve(actions.save_draft(draft), by=platform_admin.user)
    complete(actions.request_deployment(acme, actions.offered_stack("web"), {"TITLE": "New"}, by=alice.user))
    again = actions.roll_back(completed, by=alice.user)
    assert (again.title, again.status, again.rollback_of) == ("web #3", Status.QUEUED, completed)
    assert again.release == completed.release
    assert [step["name"] for step in again.steps] == ["step 1"]
    with scopes_disabled():
        event = Event.objects.filter(type="deployment_update").order_by("id").last()
    assert event.summary == "Alice rolled web back to #1"
    data = event.payload["data"]
    assert (data["rollbackOf"], data["stackVersion"], data["digest"]) == (1, 1, completed.release.digest)


@pytest.mark.parametrize("end", [leases.fail, leases.confirm_cancel])
def test_what_did_not_complete_is_nothing_to_go_back_to(alice, acme_deployment, end):
    lease = leases.claim("runner")
    end(lease, "It broke.")
    with pytest.raises(actions.NotRollbackable, match="only a completed one"):
        actions.roll_back(acme_deployment, by=alice.user)


def test_going_back_twice_at_once_is_refused_and_with_the_same_key_is_once(acme, alice, completed):
    once = actions.roll_back(completed, by=alice.user, idempotency_key="k")
    assert actions.roll_back(completed, by=alice.user, idempotency_key="k") == once
    with pytest.raises(actions.NotRollbackable, match=r"web #2 is already rolling back to web #1\."):
        actions.roll_back(completed, by=alice.user)
    complete(once)
    assert actions.roll_back(completed, by=alice.user).number == 3


def test_a_page_that_saw_it_otherwise_changes_nothing_and_shows_the_difference(acme, alice, completed):
    response = alice.post(f"{LIST}1/rollback/", {"version": "2", "seen_status": "running"})
    assert response.status_code == 409
    assert 'data-testid="difference"' in response.content.decode()
    assert newest(acme) == completed


def test_alice_rolls_back_from_the_deployments_page_which_says_what_it_will_do(acme, alice, bob, completed):
    page = alice.get(f"{LIST}1/").content.decode()
    assert f'<span class="mono">{completed.release.short_digest}</span> of web version 1 again as it was' in page
    response = alice.post(f"{LIST}1/rollback/", {"version": str(completed.version)})
    assert response["Location"] == f"{LIST}2/"
    assert "Rolls back to" in alice.get(f"{LIST}2/").content.decode()
    assert "Rolled back to it as" in alice.get(f"{LIST}1/").content.decode()
    assert "again as it was" not in bob.get(f"{LIST}1/").content.decode()


def test_a_stacks_releases_are_its_completed_deployments(acme, alice, bob, stack, completed, platform_admin):
    actions.request_deployment(acme, stack, {"TITLE": "Waits"}, by=alice.user)
    page = alice.get(f"{LIST}stacks/web/").content.decode()
    assert page.count('data-testid="release-row"') == 1 + 1  # and the blank row
    assert f'action="{LIST}1/rollback/"' in page
    assert "/rollback/" not in bob.get(f"{LIST}stacks/web/").content.decode()
    make_stack("never", ["true"], by=platform_admin.user)
    assert alice.get(f"{LIST}stacks/never/").status_code == 404


def test_a_service_rolls_back_over_the_api(alice, completed):
    response = alice.api_post(
        f"/api/deployments/{completed.id}/rollback", {"expectedVersion": completed.version}, "acme"
    )
    assert (response.status_code, response.json()["rollbackOf"]) == (201, 1)
    stale = alice.api_post(f"/api/deployments/{completed.id}/rollback", {"expectedVersion": 1}, "acme")
    assert (stale.status_code, stale.json()["errors"][0]["code"]) == (409, "stale_version")


def test_who_cancelled_it_is_kept_and_said(alice, acme_deployment):
    actions.cancel(acme_deployment, by=alice.user)
    assert fresh(acme_deployment).canceller_name == "Alice"
    with scopes_disabled():
        assert Event.objects.order_by("id").last().payload["data"]["cancelRequestedBy"] == "Alice"
    page = alice.get(f"{LIST}1/").content.decode()
    assert '<span data-field="canceller">Alice</span> asked to cancel it' in page


# --- The digest -------------------------------------------------------------------------------------------------------

TOKEN = [{"name": "TOKEN", "type": "secret"}, {"name": "TITLE"}]


@pytest.fixture
def secretive(acme, alice, platform_admin):
    """Deploy a stack that takes a secret and prints its title; the secret may be chosen."""
    stack = make_stack("s", python("import os; print(os.environ['TITLE'])"), parameters=TOKEN, by=platform_admin.user)

    def deploy(token="correct-horse", title="Hello"):
        return actions.request_deployment(acme, stack, {"TOKEN": token, "TITLE": title}, by=alice.user)

    return deploy


def tamper(deployment: Deployment, **fields) -> None:
    with scope(tenant=deployment.tenant):
        assert Release.objects.filter(pk=deployment.release_id).update(**fields) == 1


@pytest.mark.django_db(transaction=True)
def test_a_release_runs_again_with_its_secrets_while_it_is_what_it_was(runner, alice, secretive):
    first = ended(secretive())
    again = ended(actions.roll_back(first, by=alice.user))
    assert (again.status, log_of(again)) == (Status.COMPLETED, [("info", "Hello")])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "what", ["steps", "parameters", "stack_version", "digest", "sealed", "sealed of another", "unsealed"]
)
def test_a_release_that_was_altered_is_refused_with_a_clear_reason_and_nothing_runs(request, quick, secretive, what):
    deployment, other = secretive(), secretive(token="battery-staple")
    hidden = deployment.release.parameters["TOKEN"]
    tamper(
        deployment,
        **{
            "steps": {"steps": [{"name": "evil", "command": python("print('evil')")}]},
            "parameters": {"parameters": {"TITLE": "evil", "TOKEN": hidden}},
            "stack_version": {"stack_version": 7},
            "digest": {"digest": f"sha256:{'0' * 64}"},
            "sealed": {"sealed": sealing.seal({"TOKEN": "evil-evil"})},
            "sealed of another": {"sealed": other.release.sealed},
            "unsealed": {"sealed": ""},
        }[what],
    )
    request.getfixturevalue("runner")
    refused = ended(deployment)
    assert refused.status == Status.FAILED
    assert "was altered after it was made" in refused.reason
    assert [step["status"] for step in refused.steps] == ["skipped"]
    assert log_of(refused) == [("error", refused.reason)]
    assert ended(other).status == Status.COMPLETED
