"""Each committed event gets exactly one place in the log, and what happened to one row keeps its order."""

import itertools
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID

import pytest
from django.db import connection, connections, transaction
from django_scopes import scopes_disabled
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from events import databases, numbering, pushing
from events.emit import emit
from events.ids import new_id
from events.models import Entry, Event, LogState
from events.tests.conftest import Happened, eventually

only_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer")


def number_all() -> None:
    while numbering.number().is_due:
        pass


def order() -> list[int]:
    """Event ids in the order of the log."""
    return list(Entry.objects.order_by("seq").values_list("event_id", flat=True))


def open_ranges() -> list[tuple[int, int]]:
    """The first and the last id of each hole."""
    return [(hole["first"], hole["last"]) for hole in LogState.objects.get().holes]


def assert_seqs_have_no_gap() -> None:
    seqs = list(Entry.objects.order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, len(seqs) + 1))


@pytest.mark.django_db(transaction=True)
def test_committed_events_are_numbered_in_their_order_across_batches(happen):
    events = happen(25)
    while numbering.number(limit=10).is_due:
        pass
    assert order() == [event.id for event in events]
    assert_seqs_have_no_gap()


@pytest.mark.django_db(transaction=True)
def test_numbering_twice_numbers_nothing_twice(happen):
    happen(3)
    number_all()
    number_all()
    assert len(order()) == 3


class Writer:
    """A second connection to the test's database, in a transaction of its own."""

    def __init__(self) -> None:
        self._connection = connections.create_connection("default")
        self._connection.settings_dict = connection.settings_dict | {"OPTIONS": _without_pool()}
        self._connection.connect()
        self._connection.set_autocommit(False)

    def emit(self, thing: str) -> int:
        """An event's row, as emit() writes it."""
        with self._connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO events_event (uuid, type, occurred_at, actor_kind, actor_name, summary, payload, channels,"
                " revokes) VALUES (%s, 'test_happened', %s, '', '', %s, '{}', '[]', '[]') RETURNING id",
                [new_id().hex, "2026-11-23 12:00:00+00:00", thing],
            )
            return cursor.fetchone()[0]

    def commit(self) -> None:
        self._connection.commit()

    def rollback(self) -> None:
        self._connection.rollback()

    def close(self) -> None:
        self._connection.close()


def _without_pool() -> dict[str, object]:
    return {name: value for name, value in connection.settings_dict["OPTIONS"].items() if name != "pool"}


@contextmanager
def writers(count: int):
    found = [Writer() for _ in range(count)]
    try:
        yield found
    finally:
        for writer in found:
            writer.close()


@only_postgresql
@pytest.mark.django_db(transaction=True)
def test_an_event_that_commits_late_is_not_lost(monkeypatch):
    monkeypatch.setattr(numbering, "HOLE_KEPT_SECONDS", 0.0)
    with writers(2) as (slow, quick):
        late = slow.emit("late")
        early = quick.emit("early")
        quick.commit()
        for _ in range(3):
            number_all()
            numbering.number()
        assert order() == [early]
        assert [hole["last"] for hole in LogState.objects.get().holes] == [late]
        slow.commit()
        number_all()
        assert order() == [early, late]


@only_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_late_event_whose_transaction_is_the_youngest_is_not_lost(monkeypatch):
    """The one that commits first began first: no ended transaction is above the one that still runs."""
    monkeypatch.setattr(numbering, "HOLE_KEPT_SECONDS", 0.0)
    with writers(2) as (older, younger):
        first = older.emit("before")
        late = younger.emit("late")
        second = older.emit("after")
        older.commit()
        for _ in range(3):
            numbering.number()
        younger.commit()
        number_all()
        assert order() == [first, second, late]


@only_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_event_is_looked_for_until_its_transaction_has_ended_and_a_minute_is_over(monkeypatch):
    with writers(2) as (slow, quick):
        slow.emit("never")
        quick.emit("early")
        quick.commit()
        number_all()
        slow.rollback()
        numbering.number()
        assert len(LogState.objects.get().holes) == 1
        monkeypatch.setattr(numbering, "HOLE_KEPT_SECONDS", 0.0)
        # Transactions of other databases on this server, other tests', also keep it open while they last.
        eventually(lambda: number_all() or not LogState.objects.get().holes)


@only_postgresql
@pytest.mark.django_db(transaction=True)
def test_an_older_transaction_that_still_runs_keeps_every_hole_open(monkeypatch):
    monkeypatch.setattr(numbering, "HOLE_KEPT_SECONDS", 0.0)
    with writers(3) as (slow, rolled_back, quick):
        late = slow.emit("late")
        rolled_back.emit("never")
        quick.emit("early")
        quick.commit()
        number_all()
        rolled_back.rollback()
        numbering.number()
        assert LogState.objects.get().holes
        slow.commit()
        number_all()
        assert order()[-1] == late


@pytest.mark.django_db(transaction=True)
def test_writers_and_two_numberers_at_once(acme, globex):
    """Four writers change two rows, under their locks, and roll back now and then; two relays number meanwhile."""
    committed: dict[UUID, list[int]] = {acme.pk: [], globex.pk: []}
    writing = threading.Event()
    writing.set()

    def write(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(40):
            row = chance.choice([acme.pk, globex.pk])
            with transaction.atomic():
                type(acme).objects.select_for_update().get(pk=row)
                event = emit(Happened(tenant_id=row, thing=1))
                if chance.random() < 0.2:
                    transaction.set_rollback(True)
                else:
                    committed[row].append(event.pk)  # under the row's lock: in the order of commits

    def number() -> None:
        while numbering.number(limit=7).is_due or writing.is_set():
            pass

    with ThreadPoolExecutor(max_workers=6) as pool:
        numberers = [pool.submit(_closing, number) for _ in range(2)]
        for writer in [pool.submit(_closing, write, seed) for seed in range(4)]:
            writer.result()
        writing.clear()
        for numberer in numberers:
            numberer.result()
    place = {event_id: seq for seq, event_id in enumerate(order())}
    assert sorted(place) == sorted(itertools.chain(*committed.values()))
    assert_seqs_have_no_gap()
    for written in committed.values():
        assert [place[event_id] for event_id in written] == sorted(place[event_id] for event_id in written)


def _closing(work: Callable[..., None], *args: object) -> None:
    try:
        work(*args)
    finally:
        connection.close()


class Log(RuleBasedStateMachine):
    """Writers commit and roll back in any order; numbering happens at any time.

    A writer holds the lock of the one row it speaks of until its transaction ends: so no two open transactions speak of
    the same row. On SQLite there is one writer.
    """

    @initialize()
    def start(self) -> None:
        with scopes_disabled():
            Event.objects.all().delete()
        LogState.objects.all().delete()
        many = databases.many_writers()
        self.writers = [Writer() for _ in range(4)] if many else [Writer()]
        self.open: dict[int, tuple[str, list[int]]] = {}
        self.history: dict[str, list[int]] = {}
        self.rows = itertools.cycle(["web", "api", "db"])

    def _free_row(self) -> str | None:
        taken = {row for row, _ in self.open.values()}
        return next((row for row in itertools.islice(self.rows, 3) if row not in taken), None)

    @rule(which=st.integers(0, 3), count=st.integers(1, 3))
    def write(self, which: int, count: int) -> None:
        which %= len(self.writers)
        if which not in self.open:
            row = self._free_row()
            if row is None:
                return
            self.open[which] = (row, [])
        row, written = self.open[which]
        written.extend(self.writers[which].emit(row) for _ in range(count))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), commits=st.booleans())
    def end(self, data: st.DataObject, commits: bool) -> None:
        which = data.draw(st.sampled_from(sorted(self.open)))
        row, written = self.open.pop(which)
        if commits:
            self.writers[which].commit()
            self.history.setdefault(row, []).extend(written)
        else:
            self.writers[which].rollback()

    @precondition(lambda self: databases.many_writers() or not self.open)
    @rule(limit=st.integers(1, 8))
    def number(self, limit: int) -> None:
        numbering.number(limit)

    @precondition(lambda self: hasattr(self, "writers"))
    @invariant()
    def the_log_is_without_gaps_and_has_only_what_was_committed(self) -> None:
        found = order()
        committed = set(itertools.chain(*self.history.values()))
        assert len(found) == len(set(found))
        assert set(found) <= committed
        assert_seqs_have_no_gap()

    @precondition(lambda self: hasattr(self, "writers"))
    @invariant()
    def what_happened_to_one_row_keeps_its_order(self) -> None:
        place = {event_id: seq for seq, event_id in enumerate(order())}
        for written in self.history.values():
            seqs = [place[event_id] for event_id in written if event_id in place]
            assert seqs == sorted(seqs)
            assert [event_id in place for event_id in written] == sorted(
                [event_id in place for event_id in written], reverse=True
            )

    def teardown(self) -> None:
        if not hasattr(self, "writers"):
            return
        for which in self.open:
            self.writers[which].rollback()
        for writer in self.writers:
            writer.close()
        while numbering.number(500).is_due:
            pass
        assert set(order()) == set(itertools.chain(*self.history.values()))


@pytest.mark.django_db(transaction=True)
def test_an_entry_repeats_what_pages_ask_of_its_event(happen):
    happen(1)
    number_all()
    entry = Entry.objects.select_related("event").get()
    assert (entry.type, entry.tenant_id, entry.occurred_at) == (
        entry.event.type,
        entry.event.tenant_id,
        entry.event.occurred_at,
    )
    assert entry.is_activity is False


@only_postgresql
@pytest.mark.django_db(transaction=True)
def test_what_was_numbered_comes_back_as_the_push_would_read_it(happen):
    happen(1)
    number_all()
    happen(3)
    log = numbering.number(with_rows=True)
    assert [tuple(row) for row in log.rows] == [tuple(row) for row in pushing._rows_after(1, 10)]
    assert [row[0] for row in log.rows] == [2, 3, 4]


@only_postgresql
@pytest.mark.django_db(transaction=True)
def test_what_is_behind_a_running_transaction_does_not_wait_for_it():
    with writers(2) as (slow, quick):
        early, late, behind = quick.emit("early"), slow.emit("late"), quick.emit("behind")
        quick.commit()
        number_all()
        assert order() == [early, behind]
        slow.commit()
        number_all()
        assert order() == [early, behind, late]


@only_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_hole_is_filled_just_when_the_next_gap_comes():
    with writers(3) as (slow, slower, quick):
        late, early = slow.emit("late"), quick.emit("early")
        quick.commit()
        number_all()
        last, behind = slower.emit("last"), quick.emit("behind the next gap")
        slow.commit()
        quick.commit()
        numbering.number()
        assert order() == [early, late, behind]
        slower.commit()
        number_all()
    assert order() == [early, late, behind, last]
    assert_seqs_have_no_gap()


@only_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_hole_of_several_events_shrinks_by_those_that_turn_up():
    with writers(3) as (slow, slower, quick):
        quick.emit("first")
        quick.commit()
        number_all()
        before = open_ranges()
        late, later, behind = slow.emit("late"), [slower.emit("later"), slower.emit("later")], quick.emit("behind")
        quick.commit()
        number_all()
        assert open_ranges() == [*before, (late, later[1])]
        slow.commit()
        number_all()
        assert open_ranges() == [*before, (later[0], later[1])]
        slower.commit()
        number_all()
    assert order()[1:] == [behind, late, *later]
    assert open_ranges() == before


@only_postgresql
@pytest.mark.django_db(transaction=True)
def test_looking_where_nothing_happened_writes_nothing():
    """Not even the number of a transaction, of which there are not so many."""
    with writers(2) as (slow, quick):
        slow.emit("late")
        quick.emit("early")
        quick.commit()
        number_all()
        connection.set_autocommit(False)
        try:
            assert not numbering.number(with_rows=True).is_due
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_current_xact_id_if_assigned()")
                assert cursor.fetchone() == (None,)
        finally:
            connection.rollback()
            connection.set_autocommit(True)


@pytest.mark.django_db(transaction=True)
def test_nobody_numbers_inside_a_transaction(happen):
    """It would not see who else runs, and its caller's commit would not wait for the disk."""
    happen(1)
    with pytest.raises(RuntimeError, match="transaction of its own"), transaction.atomic():
        numbering.number()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("hole_kept_seconds", [0.0, 60.0])
def test_whatever_commits_in_whatever_order_each_event_is_numbered_once(monkeypatch, hole_kept_seconds):
    monkeypatch.setattr(numbering, "HOLE_KEPT_SECONDS", hole_kept_seconds)
    run_state_machine_as_test(
        Log,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
