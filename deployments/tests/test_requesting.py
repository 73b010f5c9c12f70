import pytest
from django.db import IntegrityError, transaction
from django_scopes import scope, scopes_disabled

from deployments import actions
from deployments.models import Deployment, Frozen, Release, Stack, Status
from deployments.tests.conftest import fresh
from events.models import Event

SECRET = "correct-horse"


def events_of(deployment: Deployment) -> list[Event]:
    with scopes_disabled():
        events = Event.objects.filter(type="deployment_update", tenant=deployment.tenant).order_by("id")
        return [event for event in events if event.payload["deploymentId"] == str(deployment.pk)]


def test_deploying_queues_it_and_says_so_in_one_event(acme, alice, stack):
    deployment = actions.request_deployment(acme, stack, {"TITLE": "Acme"}, by=alice.user)
    assert (deployment.title, deployment.status, deployment.version) == ("web #1", Status.QUEUED, 1)
    (event,) = events_of(deployment)
    assert event.summary == "Alice deployed web #1"
    assert event.payload["status"] == "queued"
    assert event.payload["data"]["queuePosition"] == 1
    assert event.channels == [
        f"tenant:{acme.id}:deployments",
        f"tenant:{acme.id}:dashboard",
        "admin:deployments:status",
        "admin:platform:events",
        f"tenant:{acme.id}:activity",
    ]


def test_numbers_count_within_each_tenant(acme, globex, alice, charlie, stack):
    ours = [actions.request_deployment(acme, stack, {"TITLE": "A"}, by=alice.user) for _ in range(3)]
    theirs = actions.request_deployment(globex, stack, {"TITLE": "G"}, by=charlie.user)
    assert [deployment.number for deployment in ours] == [1, 2, 3]
    assert theirs.number == 1


def test_wrong_parameters_are_named_one_by_one_and_nothing_is_queued(acme, alice, stack):
    with pytest.raises(actions.InvalidRequest) as refused:
        actions.request_deployment(
            acme,
            stack,
            {"PAGES": "many", "DRAFTS": "perhaps", "THEME": "blue", "TOKEN": "short", "COLOUR": "x"},
            by=alice.user,
            name="web\n",
        )
    assert set(refused.value.errors) == {
        "name",
        *(f"parameters.{name}" for name in ("TITLE", "PAGES", "DRAFTS", "THEME", "TOKEN", "COLOUR")),
    }
    assert "short" not in str(refused.value)
    with scope(tenant=acme):
        assert not Deployment.objects.exists()


def test_a_stack_that_is_not_approved_cannot_be_deployed(acme, alice):
    draft = Stack.objects.create(slug="draft", name="Draft", steps=[{"name": "a", "command": ["true"]}])
    with pytest.raises(actions.InvalidRequest, match="not approved"):
        actions.request_deployment(acme, draft, {}, by=alice.user)


def test_an_approved_version_is_frozen_and_the_next_one_is_offered_once_approved(stack, platform_admin):
    stack.steps = [{"name": "other", "command": ["true"]}]
    with pytest.raises(Frozen):
        stack.save()
    draft = actions.new_version(stack)
    assert (draft.version, draft.is_approved) == (2, False)
    assert actions.offered_stack("web").version == 1
    actions.approve(draft, by=platform_admin.user)
    assert actions.offered_stack("web").version == 2
    assert [stack.version for stack in Stack.objects.offered()] == [2]


def test_a_stack_with_a_wrong_step_cannot_be_approved(platform_admin):
    wrong = Stack.objects.create(slug="wrong", name="Wrong", steps=[{"name": "a", "command": "rm -rf /"}])
    with pytest.raises(actions.NotApprovable, match="command"):
        actions.approve(wrong, by=platform_admin.user)


def test_the_same_stack_version_and_parameters_are_the_same_release(acme, globex, alice, charlie, stack):
    def digest(tenant, person, **parameters):
        return actions.request_deployment(tenant, stack, {"TITLE": "A", **parameters}, by=person.user).release.digest

    first = digest(acme, alice, TOKEN=SECRET)
    assert first.startswith("sha256:")
    assert digest(acme, alice, TOKEN=SECRET, PAGES="3") == first
    assert digest(acme, alice, TOKEN=SECRET + "!") != first
    assert digest(acme, alice) != first
    assert digest(globex, charlie, TOKEN=SECRET) != first  # nobody learns that two tenants share a secret
    with scope(tenant=acme):
        assert Release.objects.count() == 3


def test_a_release_is_never_changed(acme_deployment):
    with pytest.raises(Frozen):
        acme_deployment.release.save()


def test_a_secret_is_stored_encrypted_and_reaches_only_the_steps(acme, alice, stack):
    release = actions.request_deployment(acme, stack, {"TITLE": "A", "TOKEN": SECRET}, by=alice.user).release
    with scopes_disabled():
        stored = repr(Release.objects.values().get()) + repr(list(Event.objects.values()))
    assert SECRET not in stored
    assert release.environment() == {"TITLE": "A", "PAGES": "3", "THEME": "light", "TOKEN": SECRET}


def test_the_same_idempotency_key_makes_one_deployment(acme, alice, bob, stack):
    once = actions.request_deployment(acme, stack, {"TITLE": "A"}, by=alice.user, idempotency_key="k")
    again = actions.request_deployment(acme, stack, {"TITLE": "A"}, by=alice.user, idempotency_key="k")
    assert once.pk == again.pk
    with pytest.raises(actions.IdempotencyConflict):
        actions.request_deployment(acme, stack, {"TITLE": "B"}, by=alice.user, idempotency_key="k")
    other = actions.request_deployment(acme, stack, {"TITLE": "B"}, by=bob.user, idempotency_key="k")
    assert other.pk != once.pk


def test_a_full_queue_refuses(acme, alice, stack, settings):
    settings.DEPLOYMENT_QUEUE_LIMIT = 2
    for _ in range(2):
        actions.request_deployment(acme, stack, {"TITLE": "A"}, by=alice.user)
    with pytest.raises(actions.QueueFull, match="2 deployments already wait"):
        actions.request_deployment(acme, stack, {"TITLE": "A"}, by=alice.user)


def test_cancelling_a_waiting_one_ends_it_and_moves_the_others_up(acme, alice, stack):
    first, second, third = (actions.request_deployment(acme, stack, {"TITLE": "A"}, by=alice.user) for _ in range(3))
    actions.cancel(second, by=alice.user)
    assert fresh(second).status == Status.CANCELLED
    assert events_of(second)[-1].summary == "Alice cancelled web #2"
    assert len(events_of(first)) == 1
    moved = events_of(third)[-1]
    assert (moved.payload["version"], moved.payload["data"]["queuePosition"]) == (2, 2)
    with pytest.raises(actions.NotCancellable):
        actions.cancel(second, by=alice.user)


def test_a_form_made_for_an_older_version_is_refused_with_what_is_different(acme, alice, acme_deployment):
    actions.cancel(acme_deployment, by=alice.user)
    with pytest.raises(actions.StaleVersion) as stale:
        actions.cancel(acme_deployment, by=alice.user, expected_version=1)
    assert stale.value.difference["version"] == {"seen": 1, "now": 2}
    assert "cancelled now" in str(stale.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"status": "done"},
        {"status": "running"},
        {"status": "completed"},
        {"status": "failed", "reason": ""},
        {"version": 0},
        {"number": 0},
    ],
)
def test_the_database_refuses_a_deployment_that_contradicts_itself(acme, acme_deployment, changed):
    with pytest.raises(IntegrityError), transaction.atomic(), scope(tenant=acme):
        Deployment.objects.filter(pk=acme_deployment.pk).update(**changed)
