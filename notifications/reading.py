"""What a person sees of their inbox: how many are unread, and which page of the list."""

from dataclasses import dataclass
from itertools import groupby
from urllib.parse import urlencode

from django.db.models import Count, IntegerField, QuerySet, Subquery
from django.http import QueryDict

from accounts.models import User
from notifications.kinds import About, names_about
from notifications.models import Inbox, Level, Notification

PAGE_SIZE = 50
#: More than this the bell doesn't count.
BELL_MAX = 99


@dataclass(frozen=True, slots=True)
class Badge:
    """How many are unread, as of a version of the inbox. Whoever shows it drops what is older."""

    unread: int = 0
    version: int = 0

    @property
    def words(self) -> str:
        """As the bell shows it; nothing for none."""
        if self.unread > BELL_MAX:
            return f"{BELL_MAX}+"
        return str(self.unread) if self.unread else ""


def badge(user: User) -> Badge:
    """Counted now, in one query: the stored count follows a lost access only when that was handled."""
    unread = Notification.objects.of(user).unread().order_by().values("user").annotate(unread=Count("pk"))
    counted = Subquery(unread.values("unread"), output_field=IntegerField())
    found = Inbox.objects.filter(pk=user.pk).annotate(now_unread=counted).values_list("now_unread", "version").first()
    return Badge(found[0] or 0, found[1]) if found else Badge()


#: The places a notification can be in, as the address names them: the inbox, what of it is unread, the archive.
EVERYTHING, UNREAD, ARCHIVE = "", "unread", "archive"


@dataclass(frozen=True, slots=True)
class Filters:
    """What the address asks for. An unknown value counts as not given: an old link still opens."""

    show: str = EVERYTHING
    tenant: str = ""
    about: str = ""
    level: str = ""

    @classmethod
    def of(cls, given: QueryDict) -> "Filters":
        show, about, level = (given.get(name, "") for name in ("show", "about", "level"))
        return cls(
            show=show if show in (UNREAD, ARCHIVE) else EVERYTHING,
            tenant=given.get("tenant", "").replace("\x00", "")[:50],
            about=about if about in About.values else "",
            level=level if level in Level.values else "",
        )

    @property
    def is_set(self) -> bool:
        return self != Filters()

    @property
    def is_unread(self) -> bool:
        return self.show == UNREAD

    @property
    def is_archive(self) -> bool:
        return self.show == ARCHIVE

    @property
    def kinds(self) -> list[str]:
        """The kinds that belong in the list; none means all."""
        return names_about(self.about) if self.about else []

    def apply(self, user: User) -> QuerySet[Notification]:
        found = Notification.objects.of(user).archived(self.is_archive).select_related("tenant").order_by("-number")
        if self.is_unread:
            found = found.filter(read_at=None)
        if self.about:
            found = found.filter(kind__in=self.kinds)
        if self.level:
            found = found.filter(level=self.level)
        return found.filter(tenant__slug=self.tenant) if self.tenant else found

    def address(self, **changed: str | int) -> str:
        """The query string of these filters with some of them changed; empty values are left out."""
        values = {"show": self.show, "tenant": self.tenant, "about": self.about, "level": self.level} | changed
        kept = {name: value for name, value in values.items() if value}
        return f"?{urlencode(kept)}" if kept else "?"

    @property
    def fields(self) -> list[tuple[str, str]]:
        """What a form of the page sends along, so that it comes back to the same list."""
        values = {"show": self.show, "tenant": self.tenant, "about": self.about, "level": self.level}
        return [(name, value) for name, value in values.items() if value]


@dataclass(frozen=True, slots=True)
class Page:
    """Up to PAGE_SIZE notifications in groups; `older` and `newer` are the numbers to go on from."""

    groups: list[list[Notification]]
    newest: int
    older: int | None
    newer: int | None


def _number(row: Notification) -> int:
    """Its place in the inbox, which what is listed has."""
    assert row.number is not None
    return row.number


def page(found: QuerySet[Notification], before: int | None, after: int | None) -> Page:
    """The page that ends before a number, or that follows one; else the newest."""
    if after is not None:
        rows = list(found.filter(number__gt=after).order_by("number")[: PAGE_SIZE + 1])
        has_newer, has_older = len(rows) > PAGE_SIZE, True
        rows = rows[:PAGE_SIZE][::-1]
    else:
        rows = list((found if before is None else found.filter(number__lt=before))[: PAGE_SIZE + 1])
        has_newer, has_older = before is not None, len(rows) > PAGE_SIZE
        rows = rows[:PAGE_SIZE]
    return Page(
        groups=grouped(rows),
        newest=_number(rows[0]) if rows else 0,
        older=rows[-1].number if rows and has_older else None,
        newer=rows[0].number if rows and has_newer else None,
    )


def grouped(rows: list[Notification]) -> list[list[Notification]]:
    """What speaks of the same stands together, where its newest stands."""
    newest: dict[str, int] = {}
    for row in rows:
        newest.setdefault(row.group_key, _number(row))
    ordered = sorted(rows, key=lambda row: (-newest[row.group_key], -_number(row)))
    return [list(group) for _, group in groupby(ordered, key=lambda row: row.group_key)]
