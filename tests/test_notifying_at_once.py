"""Notifications and their mails with several processes at the same moment: real connections and transactions."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import Message

import pytest

from notifications.kinds import Pace, Way
from notifications.models import Mail, Notification
from notifications.preferences import choose
from notifications.tests.smtp import MailServer, mail_server
from tests.processes import Process, all_at_once, processes

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 11, 24, 12, 10, tzinfo=UTC)
ONE = datetime(2026, 11, 24, 13, tzinfo=UTC)
A_WEEK_LATER = datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def four(django_db_setup) -> Iterator[list[Process]]:
    """Processes of their own, for all tests here: each takes a while to start."""
    with processes(4, "notifications.tests.worker") as found:
        yield found


@pytest.fixture
def server(four) -> Iterator[MailServer]:
    """A real mail server on loopback, which the processes are told to use."""
    with mail_server() as running:
        all_at_once(four, "mail_to", running.port)
        yield running


@pytest.fixture
def hourly(alice, bob) -> list[str]:
    """Alice and Bob, who want a digest each hour: their ids."""
    for person in (alice, bob):
        choose(person.user, {("deployment_failed", Way.EMAIL): Pace.HOURLY})
    return [str(person.user.pk) for person in (alice, bob)]


def told(server: MailServer, address: str) -> list[str]:
    """The titles in this person's mails, each as often as it stands there."""
    hers = [message for message in server.accepted if message["To"] == address]
    texts = [part.get_payload(decode=True) for message in hers for part in message.walk() if is_text(part)]
    return sorted(title for text in texts for title in re.findall(r"p\d-\d+\.", text.decode()))


def is_text(part: Message) -> bool:
    return part.get_content_type() == "text/plain"


def test_four_tell_and_four_send_one_digest_and_it_is_one_row_and_one_mail_each(four, server, hourly):
    all_at_once(four, "set_clock", NOON.isoformat(), time.time(), 0)
    for number, one in enumerate(four):
        one.begin("tell", hourly, f"p{number}", 10)
    assert [one.answer() for one in four] == [None] * 4
    assert list(Mail.objects.values_list("key", "window")) == [("hourly", ONE)] * 2
    assert Notification.objects.filter(mail__isnull=False).count() == 80
    all_at_once(four, "set_clock", ONE.isoformat(), time.time(), 0)
    assert sum(all_at_once(four, "send", 0)) == 2
    everything = sorted(f"p{teller}-{number}." for teller in range(4) for number in range(10))
    assert len(server.accepted) == 2
    assert told(server, "bob@acme.example") == told(server, "alice@acme.example") == everything


def test_what_is_told_while_digests_leave_is_in_one_mail_all_the_same(four, server, hourly):
    """Two tell and two send, while an hour goes by each second: whoever is late for a window is in the next."""
    all_at_once(four, "set_clock", NOON.isoformat(), time.time(), 3600)
    tellers, senders = four[:2], four[2:]
    for one in senders:
        one.begin("send", 4)
    for number, one in enumerate(tellers):
        one.begin("tell_until", hourly, f"p{number}", (NOON + timedelta(hours=3)).isoformat())
    counts = [one.answer() for one in tellers]
    for one in senders:
        one.answer()
    all_at_once(four, "set_clock", A_WEEK_LATER.isoformat(), time.time(), 0)
    all_at_once(senders, "send", 0)
    everything = sorted(f"p{teller}-{number}." for teller, count in enumerate(counts) for number in range(count))
    assert told(server, "bob@acme.example") == told(server, "alice@acme.example") == everything
    assert set(Mail.objects.values_list("state", flat=True)) == {"sent"}
    assert len(server.accepted) == Mail.objects.count() > 2


def test_what_is_told_while_it_is_solved_is_solved(four, hourly):
    """One that tells and one that solves miss each other in no order."""
    teller, solver, *_ = four
    teller.begin("tell_causes", hourly, 25)
    solver.begin("solve_causes", 25)
    assert [teller.answer(), solver.answer()] == [None, None]
    assert Notification.objects.count() == 50
    assert not Notification.objects.filter(solved_at=None).exists()
