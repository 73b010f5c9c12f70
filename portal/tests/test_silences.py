"""Silences by matchers: what is written is understood or explained, seen before it is done, and taken back."""

import re

import pytest
from django_scopes import scopes_disabled

from monitoring.alerting.models import Silence, State
from portal.alert_forms import MatchersForm, matcher_of
from portal.tests.test_monitoring import OPS, PAGE, fresh, query_of, raised, text

pytestmark = pytest.mark.django_db
NEW, OPS_NEW = f"{PAGE}silences/new/", f"{OPS}silences/new/"
FILLED = {"matchers": "host ~ d*", "reason": "Being moved", "lasts_hours": "4"}


@scopes_disabled()
def every_silence() -> list[Silence]:
    return list(Silence.objects.order_by("id"))


def previewed(person, address: str, **changed: str) -> str:
    return text(person.post(address, FILLED | {"reason": "", "do": "preview"} | changed))


# --- What is written --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "label", "op", "value"),
    [
        ("host = db-1", "host", "=", "db-1"),
        ("  host!=db-1  ", "host", "!=", "db-1"),
        ("alertname ~ Disk * full", "alertname", "~", "Disk * full"),
        ("host !~ test-*", "host", "!~", "test-*"),
        ("team of =  = web", "team of", "=", "= web"),
        ("host =", "host", "=", ""),
        ("link = https://a.example/?b=c~d", "link", "=", "https://a.example/?b=c~d"),
    ],
)
def test_a_line_is_a_label_an_operator_and_a_value(line, label, op, value):
    assert matcher_of(line) == {"label": label, "op": op, "value": value}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("host db-1", "no operator in it. Write one of = != ~ !~ between label and value, like host = db-1."),
        ('host=~"db.*"', "=~ is no operator. Write one of = != ~ !~; patterns are like host ~ db-*."),
        ("host == db-1", "== is no operator."),
        ("= db-1", "no label before =. Write one, like host = db-1."),
        (f"{'x' * 201} = db-1", "longer than a label (200 characters)"),
        (f"host = {'x' * 501}", "or a value (500) can be. Shorten it"),
    ],
)
def test_a_line_that_is_none_says_what_to_write_instead(line, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        matcher_of(line)


def test_each_bad_line_is_named_by_its_number_as_it_is_seen():
    form = MatchersForm(FILLED | {"matchers": "\r\nhost = db-1\r\n\r\nhost db-1\r\n~\r\n"})
    assert [said.split(":")[0] for said in form.errors["matchers"]] == ["Line 4", "Line 5"]


# --- A tenant's -------------------------------------------------------------------------------------------------------


def test_alice_silences_by_matchers_and_undoes_it(acme, alice):
    disk, web = raised(acme), raised(acme, "web", name="Web is slow")
    answer = alice.post(NEW, FILLED | {"ends_on_resolve": "on"})
    assert [fresh(alert).state for alert in (disk, web)] == [State.SILENCED, State.FIRING]
    (made,) = every_silence()
    assert (made.matchers, made.tenant) == ([{"label": "host", "op": "~", "value": "d*"}], acme)
    assert (made.reason, made.ends_on_resolve, made.created_by_name) == ("Being moved", True, "Alice")
    page = text(alice.get(answer["Location"]))
    assert f"{made.expires_at:%H:%M:%S} UTC: host like “d*”." in page, "what is to be undone"
    assert "Alice silenced it until" in page
    assert page.count('data-testid="silence-row"') == 1
    alice.post(f"{PAGE}undo/", {"undo": query_of(answer, "undo")})
    assert fresh(disk).state == State.FIRING
    assert every_silence()[0].ended_at


def test_what_comes_later_and_matches_is_silent_too(acme, alice):
    alice.post(NEW, FILLED | {"matchers": "alertname ~ Disk*\nseverity != critical"})
    assert raised(acme).state == State.SILENCED
    assert raised(acme, "worse", severity="critical").state == State.FIRING


def test_a_preview_lists_what_would_be_silent_and_silences_nothing(acme, alice):
    raised(acme)
    raised(acme, "web", name="Web is slow")
    page = previewed(alice, NEW, reason="", matchers="alertname ~ *full")
    preview = page[page.index('data-testid="preview"') : page.index('data-testid="silence-form"')]
    assert "It would silence 1 alert now" in preview
    assert "Disk is full" in preview
    assert "Web is slow" not in preview
    assert "alertname ~ *full</textarea>" in page, "what was written stays"
    assert "error-summary" not in page, "it needs no reason yet"
    assert every_silence() == []


def test_a_preview_tells_when_nothing_matches_and_leaves_out_what_is_silent(acme, alice):
    assert "It would silence no alert that is open now" in previewed(alice, NEW)
    raised(acme)
    assert "It would silence 1 alert now" in previewed(alice, NEW)
    alice.post(NEW, FILLED)
    assert "It would silence no alert that is open now" in previewed(alice, NEW)


def test_of_many_the_preview_shows_some_and_counts_all(acme, alice):
    for number in range(23):
        raised(acme, f"d{number}", name=f"Disk {number}")
    page = previewed(alice, NEW)
    assert "It would silence 23 alerts now" in page
    assert page.count('data-testid="alert"') == 20
    assert "And 3 more." in page


@pytest.mark.parametrize("do", ["preview", ""])
@pytest.mark.parametrize(
    ("matchers", "said"),
    [
        ("", "Name what is to be silent, one matcher a line, like host = db-1."),
        (" \n \n", "Name what is to be silent, one matcher a line, like host = db-1."),
        ("host = db-1\nhost db-1", "Line 2: no operator in it."),
        ("host ~ *", "These match every alert there is. Name what is to be silent."),
        ("host = \x00", "Null characters are not allowed."),
        ("a = b\n" * 66, "Give 1 to 65"),
    ],
)
def test_what_can_not_be_is_said_at_the_field_and_what_was_written_stays(acme, alice, do, matchers, said):
    raised(acme)
    page = text(alice.post(NEW, FILLED | {"matchers": matchers, "do": do}))
    assert 'id="id_matchers_error"' in page
    assert said in page
    assert 'data-testid="error-summary"' in page
    assert "Nothing was changed." in page
    assert 'value="Being moved"' in page
    assert '<option value="4" selected>' in page
    assert every_silence() == []


def test_a_silence_says_why_and_how_long_within_what_is_allowed(acme, alice, settings):
    assert "This field is required" in text(alice.post(NEW, FILLED | {"reason": " "}))
    settings.SILENCE_MAX_DAYS = 3
    page = text(alice.post(NEW, FILLED | {"lasts_hours": "168"}))
    assert 'id="id_lasts_hours_error"' in page
    assert "within 3 days" in page
    settings.SILENCES_PER_TENANT = 0
    assert "0 are active, which is the most. End some." in text(alice.post(NEW, FILLED))
    assert every_silence() == []


def test_the_api_reads_what_the_page_made(acme, alice):
    alice.post(NEW, FILLED | {"matchers": f"{'x' * 200} = {'y' * 500}"})
    (found,) = alice.api_get("/api/monitoring/silences", tenant="acme").json()["results"]
    assert found["matchers"] == [{"label": "x" * 200, "op": "=", "value": "y" * 500}]


def test_both_pages_of_monitoring_lead_to_a_new_silence_also_while_nothing_is_silent(acme, alice, bob, platform_admin):
    for person, page, address in ((alice, PAGE, NEW), (platform_admin, OPS, OPS_NEW)):
        assert text(person.get(page)).count(f'href="{address}"') == 2
        person.post(address, FILLED)
        assert text(person.get(page)).count(f'href="{address}"') == 1
        assert "New silence" in text(person.get(address))
    assert NEW not in text(bob.get(PAGE))


def test_bob_may_not_and_charlie_neither_sees_nor_silences_what_is_acmes(acme, globex, bob, charlie):
    disk = raised(acme)
    assert bob.get(NEW).status_code == 403
    assert bob.post(NEW, FILLED).status_code == 403
    assert charlie.post(NEW, FILLED | {"do": "preview"}).status_code == 404
    page = previewed(charlie, "/t/globex/monitoring/silences/new/")
    assert "It would silence no alert that is open now" in page
    charlie.post("/t/globex/monitoring/silences/new/", FILLED)
    assert fresh(disk).state == State.FIRING


# --- The platform's ---------------------------------------------------------------------------------------------------


def test_ada_silences_the_platforms_own_alerts_and_no_tenants(acme, alice, platform_admin):
    own, acmes = raised(None, name="Engine"), raised(acme)
    assert alice.post(OPS_NEW, FILLED).status_code == 404
    page = previewed(platform_admin, OPS_NEW)
    assert "It would silence 1 alert now" in page
    assert f'href="/ops/monitoring/alerts/{own.pk}/"' in page
    answer = platform_admin.post(OPS_NEW, FILLED)
    assert [fresh(alert).state for alert in (own, acmes)] == [State.SILENCED, State.FIRING]
    page = text(platform_admin.get(answer["Location"]))
    assert "Silences of the platform" in page
    assert page.count('data-testid="silence-row"') == 1
    platform_admin.post(f"{OPS}undo/", {"undo": query_of(answer, "undo")})
    assert fresh(own).state == State.FIRING


def test_the_operations_page_reads_silences_anew_when_one_comes(platform_admin):
    """Of those that are about nothing yet no alert tells."""
    assert "silence_updated" in text(platform_admin.get(OPS)).split('data-rereads="')[1].split('"')[0]
