"""Two who decide about the same rows at the same moment: real connections, real transactions."""

from collections.abc import Callable
from functools import partial
from threading import Barrier, Thread

import pytest
from django.db import connection
from django_scopes import scopes_disabled

from accounts.actions import Refused, disable_person, raise_generation, take_platform_admin
from accounts.events import Reason
from accounts.models import User
from events.models import Event
from tenants import actions
from tenants.models import Membership, Role, Tenant

ROUNDS = 5
pytestmark = pytest.mark.django_db(transaction=True)


def at_once(*calls: Callable[[], object]) -> list[str]:
    """Run every call in a thread of its own, started together: "done", or the refusal's class, for each."""
    start, outcomes = Barrier(len(calls)), ["" for _ in calls]

    def run(place: int, call: Callable[[], object]) -> None:
        try:
            start.wait(timeout=10)
            call()
            outcomes[place] = "done"
        except Exception as error:
            outcomes[place] = type(error).__name__ if isinstance(error, Refused) else repr(error)
        finally:
            connection.close()

    threads = [Thread(target=run, args=(place, call)) for place, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return outcomes


def two_admins() -> tuple[Tenant, list[User], list[Membership]]:
    count = Tenant.objects.count()
    tenant = Tenant.objects.create(slug=f"tenant-{count}", name=f"Tenant {count}")
    people = [User.objects.create_user(f"{name}@{tenant.slug}.example", name=name) for name in ("Ann", "Ben")]
    members = [Membership.objects.create(tenant=tenant, user=one, role=Role.TENANT_ADMIN) for one in people]
    return tenant, people, members


def active_admins(tenant: Tenant) -> int:
    with scopes_disabled():
        return Membership.objects.filter(tenant=tenant, role=Role.TENANT_ADMIN, user__is_active=True).count()


WAYS_OUT = {
    "removed": lambda member: actions.remove_member(member, by=None),
    "demoted": lambda member: actions.change_role(member, Role.TENANT_USER, by=None),
    "disabled": lambda member: disable_person(member.user, by=None),
}


@pytest.mark.parametrize("first", WAYS_OUT)
@pytest.mark.parametrize("second", WAYS_OUT)
def test_two_admins_cannot_both_be_the_last_to_leave(first, second):
    for _ in range(ROUNDS):
        tenant, _, (ann, ben) = two_admins()
        outcomes = at_once(partial(WAYS_OUT[first], ann), partial(WAYS_OUT[second], ben))
        assert sorted(outcomes) == ["LastAdmin", "done"]
        assert active_admins(tenant) == 1


def test_whoever_is_promoted_while_being_disabled_is_not_relied_on():
    """Ben becomes an admin, Ann stops being one, and Ben's account is disabled: in whatever order they come."""
    for _ in range(ROUNDS):
        tenant, (_, ben), (anns, bens) = two_admins()
        actions.change_role(bens, Role.TENANT_USER, by=None)
        outcomes = at_once(
            partial(actions.change_role, bens, Role.TENANT_ADMIN, by=None),
            partial(actions.change_role, anns, Role.TENANT_USER, by=None),
            partial(disable_person, ben, by=None),
        )
        assert set(outcomes) <= {"done", "LastAdmin", "ChangedMeanwhile"}
        assert active_admins(tenant) >= 1


def test_nor_can_two_platform_admins():
    ada, ben = (User.objects.create_superuser(f"{name}@neostack.example", name=name) for name in ("Ada", "Ben"))
    outcomes = at_once(lambda: take_platform_admin(ada, by=ben), lambda: disable_person(ben, by=ada))
    assert sorted(outcomes) == ["LastPlatformAdmin", "done"]
    assert User.objects.filter(is_superuser=True, is_active=True).count() == 1


def test_generations_raised_at_once_are_all_counted_and_told_in_order():
    ann = User.objects.create_user("ann@acme.example", name="Ann")

    def raise_once() -> None:
        raise_generation(User.objects.get(pk=ann.pk), Reason.SIGNED_OUT, by=None)

    assert at_once(*[raise_once] * 4) == ["done"] * 4
    with scopes_disabled():
        told = [event.payload["generation"] for event in Event.objects.order_by("id")]
    assert told == [2, 3, 4, 5]


def test_suspending_and_removing_at_once_wait_for_each_other():
    for _ in range(ROUNDS):
        tenant, (_, ben), (ann, _) = two_admins()
        outcomes = at_once(
            partial(actions.suspend, tenant, by=None),
            partial(actions.remove_member, ann, by=None),
            partial(raise_generation, User.objects.get(pk=ben.pk), Reason.SIGNED_OUT, by=None),
        )
        assert outcomes == ["done"] * 3
        ben.refresh_from_db()
        assert ben.access_generation == 3


def test_one_address_added_twice_at_once_is_one_person():
    tenant, _, _ = two_admins()
    outcomes = at_once(
        *[lambda: actions.add_member(tenant, "dora@acme.example", Role.TENANT_USER, by=None, name="Dora")] * 2
    )
    assert sorted(outcomes) == ["Refused", "done"]
    assert User.objects.filter(email="dora@acme.example").count() == 1
