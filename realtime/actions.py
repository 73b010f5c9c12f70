"""Changes of who may do what with channels. Whatever is taken away ends the connections of all who had it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db import transaction
from django.db.models import Q

from accounts.actions import raise_generation
from accounts.events import Reason
from accounts.models import User
from realtime import patterns
from realtime.models import ChannelPolicy, Holder
from tenants.models import Membership

#: (holder, action) -> the kinds of channel that the policies give them.
Grants = dict[tuple[str, str], frozenset[str]]


@transaction.atomic
def save_policy(policy: ChannelPolicy, by: User | None) -> ChannelPolicy:
    """Add or change a permission. Raises ValidationError when it stands for no channel, or for too many."""
    policy.full_clean()
    with _taking_away(by):
        policy.save()
    return policy


@transaction.atomic
def delete_policies(policies: Iterable[ChannelPolicy], by: User | None) -> None:
    ids = [policy.pk for policy in policies]
    with _taking_away(by):
        ChannelPolicy.objects.filter(pk__in=ids).delete()


@contextmanager
def _taking_away(by: User | None) -> Iterator[None]:
    """Raise the generation of everybody who can do less after the block than before it, in the same transaction."""
    before = _grants()
    yield
    after = _grants()
    losers = {holder for (holder, action), had in before.items() if had - after.get((holder, action), frozenset())}
    for user in _people(losers):
        raise_generation(user, Reason.POLICY_NARROWED, by)


def _grants() -> Grants:
    """What the policies give now. Locks them, so that two changes at once can't hide what they take together."""
    grants: dict[tuple[str, str], set[str]] = defaultdict(set)
    for policy in ChannelPolicy.objects.select_for_update().order_by("pk"):
        grants[policy.role, policy.action] |= patterns.kinds(policy.pattern)
    return {key: frozenset(kinds) for key, kinds in grants.items()}


def _people(holders: set[str]) -> Iterable[User]:
    """Everybody who is one of these, in one order. A service has no connection that could be ended."""
    if Holder.EVERYONE in holders:
        return User.objects.order_by("pk")
    members = Membership.objects.with_scopes_disabled().filter(role__in=holders).values("user")
    chosen = Q(pk__in=members)
    if Holder.ADMIN in holders:
        chosen |= Q(is_superuser=True)
    return User.objects.filter(chosen).order_by("pk")
