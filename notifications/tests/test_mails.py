"""E-mails: who gets one and when, and that each is sent, once where the mail server answered."""

import random
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from smtplib import SMTPServerDisconnected
from uuid import uuid4

import pytest
from django.conf import settings as django_settings
from django.core import mail as django_mail
from django.db import connection
from django.utils import timezone

from conftest import make_person
from notifications import actions, mails, tasks
from notifications.kinds import Pace, Way
from notifications.models import Mail, Notification
from notifications.preferences import choose, settle_in
from notifications.tests.conftest import inbox, titles
from notifications.tests.smtp import mail_server
from tenants.models import Membership, Role

NOON = datetime(2026, 11, 24, 12, 10, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)
KIND = "deployment_failed"


def prefers(person, pace: Pace, in_app: str = "on", kind: str = KIND) -> None:
    choose(person.user, {(kind, Way.EMAIL): pace, (kind, Way.IN_APP): in_app})


def sent() -> list[tuple[str, str]]:
    """To whom, and the subject."""
    return [(message.to[0], message.subject) for message in django_mail.outbox]


def states() -> list[str]:
    return list(Mail.objects.order_by("created_at", "pk").values_list("state", flat=True))


# --- Planning ---------------------------------------------------------------------------------------------------------


def test_who_wants_it_at_once_gets_it_at_once_with_text_html_and_a_way_out(bob, acme, tell):
    tell(bob, "web #1 failed", kind=KIND, tenant=acme, link="/t/acme/deployments/1/", message="Exit <3>.")
    assert sent() == []
    assert mails.send_due(10) == 1
    assert sent() == [("bob@acme.example", "web #1 failed · Acme")]
    [message] = django_mail.outbox
    [(html, mime)] = message.alternatives
    assert mime == "text/html"
    assert "Exit &lt;3&gt;." in html
    for body in (message.body, html):
        assert f"{django_settings.SITE_URL}/t/acme/deployments/1/" in body
        assert f"{django_settings.SITE_URL}/notifications/unsubscribe/" in body
    assert "Exit <3>." in message.body
    assert message.extra_headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message.extra_headers["List-Unsubscribe"].startswith(f"<{django_settings.SITE_URL}/notifications/")
    assert message.extra_headers["Message-ID"] == f"<{Mail.objects.get().pk}@neostack.example>"
    assert mails.send_due(10) == 0


@pytest.mark.parametrize(
    ("pace", "in_app", "is_in_inbox", "mailed"),
    [("off", "on", True, 0), ("now", "off", False, 1), ("off", "off", False, 0), ("now", "on", True, 1)],
)
def test_each_way_is_switched_by_itself(bob, tell, pace, in_app, is_in_inbox, mailed):
    prefers(bob, Pace(pace), in_app)
    source = uuid4()
    for _ in range(2):  # a handler may be called twice
        tell(bob, "web #1 failed", kind=KIND, source=source)
    assert titles(bob) == ["web #1 failed"] * is_in_inbox
    assert actions.mark_all_read(bob.user).unread == 0
    assert mails.send_due(10) == mailed


def test_what_comes_by_mail_only_counts_nowhere(bob, tell):
    tell(bob, "in the inbox")
    before = (inbox(bob).unread, inbox(bob).version)
    prefers(bob, Pace.NOW, in_app="off")
    one = tell(bob, "by mail", kind=KIND)
    assert one.number is None
    assert (inbox(bob).unread, inbox(bob).version) == before
    actions.mark_read(bob.user, [one.pk])
    actions.remove(bob.user, [one.pk])
    assert (inbox(bob).unread, inbox(bob).version) == before
    assert bob.api_get("/api/notifications/count").json()["unread"] == 1


@pytest.mark.parametrize(
    ("pace", "leaves"),
    [(Pace.HOURLY, datetime(2026, 11, 24, 13, tzinfo=UTC)), (Pace.DAILY, datetime(2026, 11, 25, 7, 30, tzinfo=UTC))],
)
def test_a_digest_is_one_mail_when_its_window_ends(bob, tell, at, pace, leaves):
    """07:30 UTC is 08:30 in Berlin."""
    settle_in(bob.user, time_zone="Europe/Berlin", digest_at=clock(8, 30))
    prefers(bob, pace)
    at(NOON)
    for number in range(3):
        tell(bob, f"web #{number} failed", kind=KIND)
    assert Mail.objects.values_list("key", "window").get() == (pace, leaves)
    at(leaves - timedelta(seconds=1))
    assert mails.send_due(10) == 0
    at(leaves)
    tell(bob, "web #3 failed", kind=KIND)  # the next window's
    assert mails.send_due(10) == 1
    [message] = django_mail.outbox
    assert message.subject.startswith("3 notifications")
    assert [f"web #{number} failed" in message.body for number in range(4)] == [True, True, True, False]
    assert Mail.objects.count() == 2


def test_nothing_is_added_to_a_digest_that_is_being_sent(bob, tell, at):
    prefers(bob, Pace.HOURLY)
    at(NOON)
    tell(bob, "first", kind=KIND)
    Mail.objects.update(attempts=1, state=Mail.State.SENDING)  # taken, by a clock that goes ahead
    tell(bob, "second", kind=KIND)
    windows = Mail.objects.order_by("window").values_list("window", flat=True)
    assert [window.hour for window in windows] == [13, 14]
    assert [mail.notifications.get().title for mail in Mail.objects.order_by("window")] == ["first", "second"]


def test_quiet_hours_hold_mails_back_and_then_send_one(bob, tell, at):
    """22:00 to 07:00 in Lisbon, which is on UTC in November."""
    settle_in(bob.user, time_zone="Europe/Lisbon", quiet_from=clock(22), quiet_until=clock(7))
    at(MIDNIGHT)
    for number in range(3):
        tell(bob, f"web #{number} failed", kind=KIND)
    tell(bob, "an alert", kind="alert_firing", is_urgent=True)
    mails.send_due(10)
    assert sent() == [("bob@acme.example", "an alert")]
    at(MIDNIGHT + timedelta(hours=7, minutes=30))
    mails.send_due(10)
    assert sent()[1:] == [("bob@acme.example", "3 notifications in your quiet hours")]


def test_in_quiet_hours_even_what_is_urgent_waits_for_who_wants_that_but_not_an_escalation(bob, tell, at):
    settle_in(bob.user, quiet_from=clock(22), quiet_until=clock(7), urgent_anyway=False)
    at(MIDNIGHT)
    tell(bob, "urgent", kind="alert_firing", is_urgent=True)
    tell(bob, "paged", kind="alert_escalated", ways=frozenset({"email"}))
    mails.send_due(10)
    assert sent() == [("bob@acme.example", "paged")]
    assert titles(bob) == ["urgent"]
    assert "List-Unsubscribe" not in django_mail.outbox[0].extra_headers


def test_the_hourly_digests_of_a_quiet_night_are_one(bob, tell, at):
    settle_in(bob.user, quiet_from=clock(22), quiet_until=clock(7))
    prefers(bob, Pace.HOURLY)
    for hours in range(3):
        at(MIDNIGHT + timedelta(hours=hours))
        tell(bob, f"web #{hours} failed", kind=KIND)
    assert Mail.objects.get().window == datetime(2026, 11, 25, 7, tzinfo=UTC)


@pytest.fixture
def quiet_at_ten(bob) -> datetime:
    """A minute before Bob's quiet hours, which end at 07:00."""
    settle_in(bob.user, quiet_from=clock(22), quiet_until=clock(7))
    return MIDNIGHT.replace(hour=21, minute=59, second=50)


def test_a_mail_refused_before_quiet_hours_is_not_tried_again_in_them_but_one_that_is_urgent_is(
    bob, tell, at, quiet_at_ten, settings
):
    at(quiet_at_ten)
    tell(bob, "web #1 failed", kind=KIND)
    tell(bob, "The fire", kind="alert_firing", is_urgent=True)
    settings.EMAIL_BACKEND, settings.EMAIL_PORT = "django.core.mail.backends.smtp.EmailBackend", 9
    mails.send_due(10)
    mails.send_due(10)  # the server is away: one mail finds out each time
    ends = datetime(2026, 11, 25, 7, tzinfo=UTC)
    assert Mail.objects.get(is_urgent=False).due_at == ends
    assert Mail.objects.get(is_urgent=True).due_at == quiet_at_ten + timedelta(seconds=30)
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    at(quiet_at_ten + timedelta(hours=4))
    mails.send_due(10)
    assert sent() == [("bob@acme.example", "The fire")]
    at(ends)
    mails.send_due(10)
    assert sent()[1:] == [("bob@acme.example", "web #1 failed")]


def test_what_an_outage_held_back_until_quiet_hours_waits_for_their_end_but_not_a_page(bob, tell, at, quiet_at_ten):
    at(quiet_at_ten)
    tell(bob, "web #1 failed", kind=KIND)
    tell(bob, "The page", kind="alert_escalated", ways=frozenset({"email"}))
    tell(bob, "left by a dead sender", kind="invoice_failed")
    Mail.objects.filter(notifications__kind="invoice_failed").update(
        state="sending", attempts=1, lease_expires_at=quiet_at_ten + timedelta(minutes=5)
    )
    at(quiet_at_ten + timedelta(hours=4))
    mails.send_due(10)
    assert sent() == [("bob@acme.example", "The page")]
    at(datetime(2026, 11, 25, 7, tzinfo=UTC))
    mails.send_due(10)
    assert [subject for _, subject in sent()[1:]] == ["web #1 failed", "left by a dead sender"]


def test_in_a_storm_what_follows_the_first_mails_of_a_kind_is_one_at_the_end_of_the_hour(bob, alice, tell, at):
    at(NOON)
    for number in range(mails.STORM_MAILS):
        tell(bob, f"web #{number} failed", kind=KIND)
    tell(bob, "db #1 failed", kind=KIND)
    tell(bob, "db #2 failed", kind=KIND)
    tell(bob, "The invoice", kind="invoice_created")
    tell(bob, "The fire", kind=KIND, is_urgent=True)
    tell(bob, "The page", kind=KIND, ways=frozenset({Way.EMAIL}))
    tell(alice, "web #1 failed", kind=KIND)
    assert mails.send_due(10) == mails.STORM_MAILS + 4
    at(NOON + mails.STORM)
    tell(bob, "web #9 failed", kind=KIND)
    assert mails.send_due(10) == 1
    at(NOON.replace(hour=13, minute=0))
    assert mails.send_due(10) == 1
    body = django_mail.outbox[-1].body
    assert "db #1 failed" in body
    assert "db #2 failed" in body
    assert "web" not in body


@pytest.mark.parametrize("people", [1, 20])
def test_mailing_many_costs_few_more_queries_than_mailing_one(acme, people, django_assert_max_num_queries):
    members = [make_person(f"P{n}", f"p{n}@acme.example").user for n in range(people)]
    for user in members:
        Membership.objects.create(tenant=acme, user=user, role=Role.TENANT_USER)
    message = actions.Message(uuid4(), KIND, "t", "m", "info", "/", "o:1", "g", acme)
    with django_assert_max_num_queries(17 + people):  # an event each
        assert len(actions.notify([user.pk for user in members], message)) == people
    assert Mail.objects.count() == people


# --- What may still be told -------------------------------------------------------------------------------------------


def test_who_left_the_company_meanwhile_gets_no_mail_about_it(bob, acme, tell):
    tell(bob, "of acme", kind=KIND, tenant=acme)
    Membership.objects.with_scopes_disabled().filter(user=bob.user).delete()
    mails.send_due(10)
    assert sent() == []
    assert states() == ["cancelled"]
    assert mails.send_due(10) == 0


def test_who_was_disabled_meanwhile_gets_no_mail(bob, tell):
    tell(bob, "one", kind=KIND)
    bob.user.is_active = False
    bob.user.save()
    mails.send_due(10)
    assert (sent(), states()) == ([], ["cancelled"])


def test_who_unsubscribed_meanwhile_gets_no_more_of_that_kind_not_even_what_was_gathered(bob, tell, at):
    at(NOON)
    for kind in (KIND, "invoice_failed"):
        prefers(bob, Pace.HOURLY, kind=kind)
        tell(bob, kind, kind=kind)
    prefers(bob, Pace.OFF)
    at(NOON + timedelta(hours=1))
    mails.send_due(10)
    assert sent() == [("bob@acme.example", "invoice_failed")]
    tell(bob, "another", kind="invoice_failed")
    prefers(bob, Pace.OFF, kind="invoice_failed")
    at(NOON + timedelta(hours=2))
    assert mails.send_due(10) == 0
    assert "cancelled" in states()


def test_what_was_solved_before_the_mail_left_says_so(bob, tell):
    tell(bob, "web #1 failed", kind=KIND, cause_key="deployment:web", cause_order=1)
    actions.solve("deployment:web", order=2, by="web #2 is done")
    mails.send_due(10)
    assert sent() == [("bob@acme.example", "Solved · web #1 failed")]
    assert "Solved since: web #2 is done." in django_mail.outbox[0].body


def test_a_title_of_several_lines_is_a_subject_of_one(bob, tell):
    tell(bob, "web #1\r\nBcc: eve@evil.example", kind=KIND)
    mails.send_due(10)
    assert sent() == [("bob@acme.example", "web #1 Bcc: eve@evil.example")]


# --- Trying again -----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(settings):
    """A real mail server on loopback, which the product is told to use."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_USE_TLS, settings.EMAIL_TIMEOUT = False, 0.5
    with mail_server() as running:
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", running.port
        yield running


def tomorrow(at) -> None:
    at(datetime.now(UTC) + timedelta(days=1))


def test_a_real_mail_server_gets_both_bodies_and_the_headers(bob, tell, server):
    tell(bob, "web #1 failed · ü", kind=KIND)
    tell(bob, "web #2 failed", kind=KIND)
    assert mails.send_due(10) == 2
    assert [message["To"] for message in server.accepted] == ["bob@acme.example"] * 2
    first = server.accepted[0]
    assert [part.get_content_type() for part in first.walk()][1:] == ["text/plain", "text/html"]
    assert first["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "/notifications/unsubscribe/" in first["List-Unsubscribe"]


def test_a_server_that_hangs_or_is_away_holds_the_mails_until_it_is_back(bob, tell, server, at):
    for number in range(3):
        tell(bob, f"web #{number} failed", kind=KIND)
    server.hangs = True
    began = time.monotonic()
    assert mails.send_due(30) == 0
    assert time.monotonic() - began < 15  # one of them found out; the others did not wait for the same
    assert sorted(Mail.objects.values_list("state", "attempts")) == [("waiting", 0), ("waiting", 0), ("waiting", 1)]
    waited = Mail.objects.get(attempts=1)
    assert waited.due_at > timezone.now() + timedelta(seconds=20)
    assert waited.error
    server.hangs = False
    server.released.set()
    tomorrow(at)
    assert mails.send_due(30) == 3
    assert len(server.accepted) == 3
    assert set(states()) == {"sent"}


def test_a_server_that_hangs_up_before_it_answers_gets_the_same_mail_again(bob, tell, server, at):
    tell(bob, "one", kind=KIND)
    server.answer_data = ""
    mails.send_due(10)
    assert states() == ["waiting"]
    server.answer_data = "250 OK"
    tomorrow(at)
    assert mails.send_due(10) == 1
    assert (server.tried, len(server.accepted)) == (2, 1)
    assert server.accepted[0]["Message-ID"] == f"<{Mail.objects.get().pk}@neostack.example>"
    tomorrow(at)
    assert mails.send_due(10) == 0


def test_what_the_server_refuses_for_now_is_tried_again_and_for_good_is_not(bob, alice, tell, server, at):
    tell(bob, "greylisted", kind=KIND)
    server.answer_recipient = "451 Try again later"
    mails.send_due(10)
    assert states() == ["waiting"]
    server.answer_recipient = "250 OK"
    tell(alice, "unwanted", kind=KIND)
    server.answer_data = "554 We don't want this"
    mails.send_due(10)
    assert states() == ["waiting", "failed"]
    assert "We don't want this" in Mail.objects.get(state="failed").error
    server.answer_data = "250 OK"
    tomorrow(at)
    assert mails.send_due(10) == 1
    assert states() == ["sent", "failed"]


def test_one_that_the_server_refuses_keeps_nobody_elses_waiting(bob, alice, tell, server):
    tell(bob, "one", kind=KIND)
    tell(alice, "other", kind=KIND)
    server.answer_recipient = "550 No such person"
    mails.send_due(10)
    assert states() == ["failed", "failed"]


def test_the_waits_grow_and_end(bob, tell, settings, at):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_PORT = 9  # nothing listens on the discard port
    tell(bob, "one", kind=KIND)
    waits = []
    while (mail := Mail.objects.get()).state == "waiting":
        at(mail.due_at)
        mails.send_due(10)
        waits.append((Mail.objects.get().due_at - mail.due_at).total_seconds())
    assert waits[:4] == [30, 60, 120, 240]
    assert max(waits) == 3600
    assert mail.due_at < mail.window + timedelta(hours=72) < mail.due_at + timedelta(hours=1)
    assert states() == ["failed"]
    assert mails.try_again(Mail.objects.get())
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert mails.send_due(10) == 1
    assert not mails.try_again(Mail.objects.get())


def test_what_a_dead_sender_took_is_sent_by_another_when_its_lease_is_over(bob, tell, at):
    tell(bob, "one", kind=KIND)
    assert mails.claim()
    assert mails.send_due(10) == 0
    at(datetime.now(UTC) + timedelta(seconds=django_settings.MAIL_LEASE_SECONDS + 1))
    assert mails.send_due(10) == 1
    assert len(sent()) == 1


def test_a_sender_that_comes_back_late_changes_nothing(bob, tell, at):
    tell(bob, "one", kind=KIND)
    slow = mails.claim()
    at(datetime.now(UTC) + timedelta(seconds=django_settings.MAIL_LEASE_SECONDS + 1))
    assert mails.send_due(10) == 1
    mails._failed(slow, SMTPServerDisconnected("too late"))
    assert states() == ["sent"]


def test_a_template_that_fails_is_said_on_the_row_and_tried_again(bob, tell, monkeypatch):
    tell(bob, "one", kind=KIND)
    monkeypatch.setattr(mails.letters, "write", lambda mail, told: 1 / 0)
    mails.send_due(10)
    assert states() == ["waiting"]
    assert "ZeroDivisionError" in Mail.objects.get().error


def test_the_platforms_admin_sends_what_was_given_up_after_all(bob, platform_admin, tell):
    tell(bob, "one", kind=KIND)
    Mail.objects.update(state="failed", error="550 No such person", ended_at=timezone.now())
    chosen = {"action": "send_again", "_selected_action": [str(Mail.objects.get().pk)]}
    answer = platform_admin.client.post("/admin/notifications/mail/", chosen, follow=True)
    assert "1 of them are tried again now." in answer.content.decode()
    assert mails.send_due(10) == 1


def test_the_task_sends_and_forgets(bob, tell):
    tell(bob, "one", kind=KIND)
    tasks.send_mails()
    assert states() == ["sent"]
    Mail.objects.update(ended_at=timezone.now() - timedelta(days=91))
    tasks.forget_old_notifications()
    assert not Mail.objects.exists()
    assert titles(bob) == ["one"]


#: A sender of its own process, killed while the mail server thinks.
SENDER = """
import django
from django.conf import settings
django.setup()
from django.db import connections
connections.databases["default"]["NAME"] = {name!r}
settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_USE_TLS = "127.0.0.1", {port}, False
settings.MAIL_LEASE_SECONDS = 0.1
from notifications import mails
mails.send_due(30)
"""


@pytest.mark.django_db(transaction=True)
def test_a_sender_killed_in_the_middle_loses_nothing_and_doubles_nothing(bob, alice, tell, server, at):
    for person, title in ((bob, "his"), (alice, "hers")):
        tell(person, title, kind=KIND)
    server.hangs = True
    script = SENDER.format(name=str(connection.settings_dict["NAME"]), port=server.port)
    process = subprocess.Popen([sys.executable, "-c", script], cwd=django_settings.BASE_DIR)
    try:
        deadline = time.monotonic() + 60
        while not Mail.objects.filter(state="sending").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None, "the sender ended by itself"
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    server.hangs = False
    server.released.set()
    tomorrow(at)
    assert mails.send_due(30) == 2
    assert sorted(message["To"] for message in server.accepted) == ["alice@acme.example", "bob@acme.example"]


@pytest.mark.django_db(transaction=True)
def test_four_senders_send_each_mail_once(acme, tell, server, monkeypatch):
    people = [make_person(f"P{n}", f"p{n}@acme.example") for n in range(12)]
    for person in people:
        tell(person, "one", kind=KIND)
    monkeypatch.setattr(mails, "_SENDING", _Never())  # as if each thread were a process
    threads = [threading.Thread(target=_send_and_close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(message["To"] for message in server.accepted) == sorted(person.user.email for person in people)
    assert set(states()) == {"sent"}


class _Never:
    """A lock that nobody holds."""

    def acquire(self, blocking: bool) -> bool:
        return True

    def release(self) -> None:
        pass


def _send_and_close() -> None:
    try:
        mails.send_due(30)
    finally:
        connection.close()


def test_whatever_people_choose_each_window_is_one_mail_and_each_notification_in_one(bob, alice, tell, at):
    """A week of random arrivals, choices, sweeps and failures, against what has to be so at the end."""
    chance, moment = random.Random(6), NOON
    at(moment)
    for number in range(150):
        moment += timedelta(minutes=chance.randint(0, 120))
        at(moment)
        person = chance.choice([bob, alice])
        match chance.choice(["tell", "tell", "tell", "choose", "habits", "send"]):
            case "tell":
                tell(person, f"number {number}.", kind=KIND)
            case "choose":
                prefers(person, chance.choice([Pace.NOW, Pace.HOURLY, Pace.DAILY]))
            case "habits":
                hour = chance.randint(0, 23)
                settle_in(person.user, quiet_from=clock(hour), quiet_until=clock((hour + 8) % 24))
            case "send":
                mails.send_due(10)
    for hours in (48, 56):  # where it is quiet first, it is not eight hours later
        at(moment + timedelta(hours=hours))
        mails.send_due(30)
    assert set(states()) == {"sent"}
    assert len(django_mail.outbox) == Mail.objects.count()
    names = list(Mail.objects.values_list("user", "key", "window"))
    assert len(names) == len(set(names))
    bodies = "\n\n".join(message.body for message in django_mail.outbox)
    for one in Notification.objects.filter(mail__isnull=False):
        assert bodies.count(one.title) == 1, one.title


@pytest.mark.django_db(transaction=True)
def test_what_comes_while_its_digest_leaves_is_in_one_mail_all_the_same(bob, alice, tell, settings, monkeypatch):
    """Three tell and two send, at once, while hours go by: whoever is late for a window is in the next."""
    settings.MAIL_LEASE_SECONDS = 30 * 86_400  # nobody dies here, however fast this clock is
    for person in (bob, alice):
        prefers(person, Pace.HOURLY)
    clock_hand = Hand()
    monkeypatch.setattr(timezone, "now", clock_hand.moved)
    monkeypatch.setattr(mails, "_SENDING", _Never())
    problems: list[BaseException] = []

    def tell_some(teller: int) -> None:
        for number in range(12):
            tell(chance.choice([bob, alice]), f"told {teller}-{number}.", kind=KIND)

    def at_once(work) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                problems.append(error)
            finally:
                connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    chance = random.Random(7)
    tellers = [at_once(lambda teller=teller: tell_some(teller)) for teller in range(3)]

    def send_meanwhile() -> None:
        while any(teller.is_alive() for teller in tellers):
            mails.send_due(1)

    senders = [at_once(send_meanwhile) for _ in range(2)]
    for thread in tellers + senders:
        thread.join(120)
    assert problems == []
    clock_hand.minutes += 24 * 60
    mails.send_due(30)
    assert set(states()) == {"sent"}
    bodies = "\n".join(message.body for message in django_mail.outbox)
    assert [bodies.count(f"told {teller}-{number}.") for teller in range(3) for number in range(12)] == [1] * 36
    assert len(django_mail.outbox) == Mail.objects.count() > 2


class Hand:
    """A clock that goes on by some minutes whenever it is looked at."""

    def __init__(self) -> None:
        self.minutes = 0
        self._lock = threading.Lock()

    def moved(self) -> datetime:
        with self._lock:
            self.minutes += 3
            return NOON + timedelta(minutes=self.minutes)
