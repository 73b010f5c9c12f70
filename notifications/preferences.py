"""What people chose: which kinds of notifications reach them in which way, and when mail suits them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from django.core.exceptions import ValidationError

from accounts.models import User
from notifications.kinds import CHOSEN, InApp, Kind, Pace, Way, kind_of
from notifications.models import Habits, Preference
from tenants.actions import action
from tenants.models import Membership

#: What there is to choose from, by way.
CHOICES: dict[str, list[str]] = {Way.IN_APP: InApp.values, Way.EMAIL: Pace.values}
_NAMES = {kind.name for kind in CHOSEN}

#: One choice: a kind's name and a way.
Choice = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """How one person wants one kind of notification."""

    in_app: bool
    pace: Pace

    @property
    def is_nothing(self) -> bool:
        return not self.in_app and self.pace == Pace.OFF


def default(kind: Kind, way: str) -> str:
    return InApp.ON.value if way == Way.IN_APP else kind.pace.value


def wanted(people: Iterable[UUID], kind_name: str) -> dict[UUID, Wanted]:
    """How each of these people wants this kind."""
    kind = kind_of(kind_name)
    people = set(people)
    found = Preference.objects.filter(user__in=people, kind=kind.name)
    chosen = {(row.user_id, row.way): row.choice for row in found}
    return {
        person: Wanted(
            chosen.get((person, Way.IN_APP), InApp.ON) == InApp.ON,
            Pace(chosen.get((person, Way.EMAIL), kind.pace)),
        )
        for person in people
    }


def chosen_by(user: User) -> dict[Choice, str]:
    """All of a person's choices, those that they never made included."""
    made = {(row.kind, row.way): row.choice for row in Preference.objects.filter(user=user)}
    return {(kind.name, way): made.get((kind.name, way), default(kind, way)) for kind in CHOSEN for way in Way.values}


def habits_of(user: User) -> Habits:
    """A person's, or those of somebody who chose nothing; then it is not stored."""
    return habits_of_all([user.pk])[user.pk]


def habits_of_all(people: Iterable[UUID]) -> dict[UUID, Habits]:
    """The same of each of these people. Who chose nothing lives by the clock of the first company they belong to."""
    found = {row.pk: row for row in Habits.objects.filter(pk__in=people)}
    missing = set(people) - found.keys()
    of_missing = Membership.objects.with_scopes_disabled().filter(user__in=missing)
    first_last = of_missing.order_by("-created_at", "-pk")
    zones = dict(first_last.values_list("user", "tenant__time_zone"))
    return found | {person: Habits(user_id=person, time_zone=zones.get(person, "UTC")) for person in missing}


@action
def choose(user: User, choices: Mapping[Choice, str]) -> dict[Choice, str]:
    """Change these of a person's choices and leave the others. Returns what they were before.

    Raises ValidationError for a kind, a way or a choice that does not exist.
    """
    for (kind, way), choice in choices.items():
        if kind not in _NAMES or choice not in CHOICES.get(way, []):
            raise ValidationError(f"{kind} by {way}: {choice!r} is no choice. Nothing was changed.")
    before = chosen_by(user)
    Preference.objects.bulk_create(
        [Preference(user=user, kind=kind, way=way, choice=choice) for (kind, way), choice in choices.items()],
        update_conflicts=True,
        unique_fields=["user", "kind", "way"],
        update_fields=["choice"],
    )
    return {changed: before[changed] for changed in choices}


@action
def settle_in(user: User, **habits: object) -> Habits:
    """Change some of a person's habits. Raises ValidationError, by field."""
    Habits.objects.bulk_create([habits_of(user)], ignore_conflicts=True)
    row = Habits.objects.select_for_update().get(pk=user.pk)
    for name, value in habits.items():
        setattr(row, name, value)
    if (row.quiet_from is None) != (row.quiet_until is None):
        missing = "quiet_until" if row.quiet_until is None else "quiet_from"
        raise ValidationError({missing: "Quiet hours have a beginning and an end. Leave both empty for none."})
    if row.quiet_from is not None and row.quiet_from == row.quiet_until:
        raise ValidationError({"quiet_until": "Quiet hours that end when they begin are none. Leave both empty."})
    row.full_clean(exclude=["user"])
    row.save()
    return row
