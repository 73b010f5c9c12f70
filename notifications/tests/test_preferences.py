"""What people choose, on the page, over the API and by a mail's link; and that nothing else changes."""

import json
import re
from datetime import UTC, datetime, time

import pytest
from django.conf import settings
from django.core import mail as django_mail
from django.core import signing
from django.core.exceptions import ValidationError
from django.test import Client

from notifications import mails, unsubscribing
from notifications.kinds import CHOSEN, KINDS, Way
from notifications.models import Habits, Mail, Preference
from notifications.preferences import choose, chosen_by, habits_of
from notifications.tests.conftest import titles
from tenants.models import Membership, Role

URL = "/notifications/preferences/"
API = "/api/notifications/preferences"
NOON = datetime(2026, 11, 24, 12, 10, tzinfo=UTC)


def form_of(person) -> dict[str, str]:
    """What the page's form would send as it stands."""
    html = person.get(URL).content.decode()
    chosen = re.findall(r'<select name="(\w+)".*?<option value="(\w+)" selected', html, re.DOTALL)
    typed = re.findall(r'<input type="(?:text|time)" name="(\w+)"(?: value="([^"]*)")?', html)
    seen = re.search(r'name="seen" value="([^"]*)"', html)[1].replace("&quot;", '"')
    return dict(chosen) | dict(typed) | {"seen": seen, "urgent_anyway": "on"}


def test_each_kind_is_described_once_and_only_an_escalation_leaves_no_choice():
    names = [kind.name for kind in KINDS]
    assert len(names) == len(set(names))
    assert [kind.name for kind in KINDS if kind not in CHOSEN] == ["alert_escalated"]


def test_the_page_shows_the_defaults_and_saves_what_was_changed_only(bob):
    form = form_of(bob)
    assert form["deployment_failed_email"] == "now"
    assert form["notice_email"] == "off"
    changed = {"notice_email": "daily", "deployment_failed_in_app": "off", "time_zone": "Europe/Lisbon"}
    answer = bob.post(URL, form | changed | {"quiet_from": "22:00", "quiet_until": "07:00"})
    assert answer["Location"] == URL
    assert set(Preference.objects.values_list("kind", "way", "choice")) == {
        ("notice", "email", "daily"),
        ("deployment_failed", "in_app", "off"),
    }
    habits = habits_of(bob.user)
    assert (habits.time_zone, habits.quiet_from, habits.quiet_until) == ("Europe/Lisbon", time(22), time(7))
    assert form_of(bob)["notice_email"] == "daily"


def test_who_never_chose_a_time_zone_lives_by_their_first_companys_clock_and_keeps_it(bob, acme, globex, tell, at):
    """08:00 in Kolkata is 02:30 UTC."""
    acme.time_zone = "Asia/Kolkata"
    acme.save()
    Membership.objects.create(tenant=globex, user=bob.user, role=Role.TENANT_USER)
    form = form_of(bob)
    assert form["time_zone"] == "Asia/Kolkata"
    choose(bob.user, {("deployment_failed", Way.EMAIL): "daily"})
    at(NOON)
    tell(bob, kind="deployment_failed", tenant=acme)
    assert Mail.objects.get().window == datetime(2026, 11, 25, 2, 30, tzinfo=UTC)
    bob.post(URL, form | {"quiet_from": "22:00", "quiet_until": "07:00"})
    acme.time_zone = "Europe/Lisbon"
    acme.save()
    assert Habits.objects.get().time_zone == "Asia/Kolkata", "as the page showed it"


def test_who_belongs_to_no_company_lives_by_utc(platform_admin):
    assert form_of(platform_admin)["time_zone"] == "UTC"


def test_an_old_tab_takes_nothing_back_that_was_chosen_elsewhere(bob):
    old_tab = form_of(bob)
    choose(bob.user, {("deployment_failed", Way.EMAIL): "off"})
    bob.post(URL, old_tab | {"notice_email": "hourly"})
    chosen = chosen_by(bob.user)
    assert chosen["deployment_failed", Way.EMAIL] == "off"
    assert chosen["notice", Way.EMAIL] == "hourly"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"time_zone": "Europe/Atlantis"}, "time_zone"),
        ({"quiet_from": "22:00", "quiet_until": ""}, "quiet_until"),
        ({"quiet_from": "22:00", "quiet_until": "22:00"}, "quiet_until"),
        ({"digest_at": "25:00"}, "digest_at"),
        ({"notice_email": "sometimes"}, "notice_email"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_is_saved(bob, wrong, field):
    page = bob.post(URL, form_of(bob) | {"invoice_paid_email": "daily"} | wrong).content.decode()
    assert "Not saved" in page
    assert f'href="#id_{field}"' in page
    assert not Preference.objects.exists()
    assert not Habits.objects.exists()


def test_a_form_without_what_it_saw_saves_all_of_it(bob):
    bob.post(URL, form_of(bob) | {"seen": "nonsense"})
    assert Preference.objects.count() == 2 * len(CHOSEN)


def test_there_is_no_switching_off_an_escalation_nor_choosing_what_does_not_exist(bob):
    for choice in ({("alert_escalated", "email"): "off"}, {("notice", "email"): "on"}, {("notice", "fax"): "on"}):
        with pytest.raises(ValidationError):
            choose(bob.user, choice)
    assert "alert_escalated" not in bob.get(URL).content.decode()


def test_the_page_says_what_became_of_the_last_mails(bob, tell, settings):
    tell(bob, "web #1 failed", kind="deployment_failed")
    assert "One notification" in bob.get(URL).content.decode()
    settings.EMAIL_BACKEND, settings.EMAIL_PORT = "django.core.mail.backends.smtp.EmailBackend", 9
    mails.send_due(5)
    page = bob.get(URL).content.decode()
    assert "The mail server could not take it yet." in page
    assert "ConnectionRefusedError" not in page


# --- API --------------------------------------------------------------------------------------------------------------


def test_the_api_says_and_changes_the_same(bob):
    shown = bob.api_get(API).json()
    assert {"kind": "notice", "title": "Somebody tells everybody something", "about": "notices"} | {
        "inApp": "on",
        "email": "off",
    } in shown["kinds"]
    asked = {
        "kinds": [{"kind": "notice", "email": "hourly"}, {"kind": "invoice_paid", "inApp": "off"}],
        "habits": {"timeZone": "Europe/Lisbon", "quietFrom": "22:00", "quietUntil": "07:00", "digestAt": "09:15"},
    }
    answer = bob.api_post(API, asked)
    assert answer.status_code == 200, answer.content
    kinds = {kind["kind"]: (kind["inApp"], kind["email"]) for kind in answer.json()["kinds"]}
    assert (kinds["notice"], kinds["invoice_paid"], kinds["deployment_failed"]) == (
        ("on", "hourly"),
        ("off", "off"),
        ("on", "now"),
    )
    assert answer.json()["habits"] == {
        "timeZone": "Europe/Lisbon",
        "digestAt": "09:15",
        "quietFrom": "22:00",
        "quietUntil": "07:00",
        "urgentAnyway": True,
    }
    bob.api_post(API, {"habits": {"quietFrom": None, "quietUntil": None}})
    assert bob.api_get(API).json()["habits"]["quietFrom"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kinds": [{"kind": "nonsense", "email": "off"}]}, "kinds.0.kind"),
        ({"kinds": [{"kind": "alert_escalated", "email": "off"}]}, "kinds.0.kind"),
        ({"kinds": [{"kind": "notice", "fax": "on"}]}, "kinds.0.fax"),
        ({"habits": {"timeZone": "Mars"}}, "habits.time_zone"),
        ({"habits": {"quietFrom": "22:00"}}, "habits.quiet_until"),
        ({"habits": {"digestAt": "half past nine"}}, "habits.digestAt"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_the_api_names_what_is_wrong_and_changes_nothing(bob, body, field):
    answer = bob.api_post(API, {"kinds": [{"kind": "notice", "email": "daily"}]} | body)
    assert answer.status_code == 400
    wire = {"habits.time_zone": "habits.timeZone", "habits.quiet_until": "habits.quietUntil"}
    assert wire.get(field, field) in {error["attr"] for error in answer.json()["errors"]}
    assert not Preference.objects.exists()


# --- Unsubscribing ----------------------------------------------------------------------------------------------------


@pytest.fixture
def link(bob, tell) -> str:
    """Where the mail that Bob got leads to: a path on this site."""
    tell(bob, "web #1 failed", kind="deployment_failed")
    mails.send_due(10)
    return re.search(r"<https?://[^/]+(/[^>]+)>", django_mail.outbox[0].extra_headers["List-Unsubscribe"])[1]


def pace(person, kind: str = "deployment_failed") -> str:
    return chosen_by(person.user)[kind, Way.EMAIL]


def test_one_click_ends_such_mails_without_signing_in_and_leaves_the_inbox(bob, tell, link):
    anybody = Client(enforce_csrf_checks=True)
    answer = anybody.post(link, {"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200
    assert pace(bob) == "off"
    assert pace(bob, "deployment_lost") == "now"
    tell(bob, "web #2 failed", kind="deployment_failed")
    assert mails.send_due(10) == 0
    assert titles(bob) == ["web #2 failed", "web #1 failed"]


def test_looking_at_the_link_changes_nothing_and_its_button_can_be_undone(bob, link):
    choose(bob.user, {("deployment_failed", Way.EMAIL): "daily"})
    anybody = Client(enforce_csrf_checks=True)
    page = anybody.get(link).content.decode()
    assert "A deployment failed" in page
    assert pace(bob) == "daily"
    page = anybody.post(link).content.decode()
    assert pace(bob) == "off"
    undo = re.search(r'name="undo" value="([^"]+)"', page)[1]
    assert "As it was before" in anybody.post(link, {"undo": undo}).content.decode()
    assert pace(bob) == "daily"


def test_who_undoes_what_their_mail_program_did_gets_mails_again(bob, link):
    anybody = Client()
    anybody.post(link, {"List-Unsubscribe": "One-Click"})
    undo = re.search(r'name="undo" value="([^"]+)"', anybody.post(link).content.decode())[1]
    anybody.post(link, {"undo": undo})
    assert pace(bob) == "now"


def test_a_link_that_nobody_signed_leads_nowhere(bob, alice, link):
    for made_up in (
        "/notifications/unsubscribe/nonsense/",
        link[:-3] + "xx/",
        f"/notifications/unsubscribe/{signing.dumps([alice.user.pk.hex, ['notice']], salt='other')}/",
    ):
        assert Client().post(made_up).status_code == 404
    assert Client().post(link, {"undo": "nonsense"}).status_code == 404
    assert pace(alice) == pace(bob) == "now"


def test_a_digests_link_ends_the_kinds_that_are_in_it(bob, tell, at):
    at(NOON)
    for kind in ("deployment_failed", "invoice_failed"):
        choose(bob.user, {(kind, Way.EMAIL): "daily"})
        tell(bob, kind, kind=kind)
    stop = unsubscribing.link(bob.user, [one.kind for one in Mail.objects.get().notifications.all()])
    Client().post(stop.removeprefix(settings.SITE_URL))
    assert (pace(bob), pace(bob, "invoice_failed"), pace(bob, "deployment_lost")) == ("off", "off", "now")


def test_what_the_form_saw_is_json(bob):
    assert json.loads(form_of(bob)["seen"])["notice_email"] == "off"
