"""Monitoring's pages: who must act, what was done about it, and what a rule would have said."""

import json
import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_scopes import scopes_disabled

from accounts.models import User
from events.models import Event
from monitoring.actions import Measured, record
from monitoring.alerting import actions, rules, silences
from monitoring.alerting.actions import Raised
from monitoring.alerting.escalation import escalate_due
from monitoring.alerting.models import Alert, AlertRule, Silence, Source, State
from portal.alerts import standing, verdict
from tenants.models import Membership

pytestmark = pytest.mark.django_db
PAGE, OPS = "/t/acme/monitoring/", "/ops/monitoring/"
#: What the page's script makes rows of.
BLANK_ROWS = 1
WORDS = json.loads((Path(__file__).parent / "alerts.json").read_text())


def raised(tenant, key: str = "disk", severity: str = "error", name: str = "Disk is full") -> Alert:
    said = Raised(Source.API, key, name, severity, "97 % of /data", started_at=timezone.now(), labels={"host": key})
    return actions.raise_alert(tenant, said)


def called_about(alert: Alert) -> Alert:
    """Its tenant's admins are called at once."""
    steps = [{"after_seconds": 0, "people": [], "ways": ["in_app"]}]
    rules.create_policy(alert.tenant, None, name="At once", steps=steps, is_default=True)
    assert escalate_due() == 1
    return alert


def query_of(redirect, name: str) -> str:
    return parse_qs(urlsplit(redirect["Location"]).query)[name][0]


def fresh(thing):
    with scopes_disabled():
        return type(thing).objects.get(pk=thing.pk)


def text(response) -> str:
    assert response.status_code == 200, response.status_code
    return response.content.decode()


@pytest.mark.parametrize(("alert", "expected"), WORDS)
def test_who_looks_after_it_is_said_in_the_words_that_the_scripts_say(alert, expected):
    assert standing(alert) == expected


def test_how_many_need_somebody_is_a_sentence():
    assert [verdict(number) for number in range(3)] == [
        "Nobody has to act",
        "1 alert needs somebody",
        "2 alerts need somebody",
    ]


def test_alice_sees_what_fires_and_nothing_of_globex(acme, globex, alice):
    raised(acme)
    raised(globex, name="Globex' own")
    page = text(alice.get(PAGE))
    assert "1 alert needs somebody" in page
    assert "<title>1 firing · Monitoring · Acme" in page
    assert "97 % of /data" in page
    assert "Globex' own" not in page
    assert "Globex&#x27; own" not in page


def test_fifty_newer_silenced_ones_do_not_hide_the_one_that_needs_somebody(acme, alice, platform_admin):
    raised(acme, "old", name="Needs somebody")
    quiet = [{"label": "alertname", "op": "~", "value": "Quiet*"}]
    silences.create_silence(acme, quiet, "Known", in_an_hour(), alice.user)
    for number in range(60):
        raised(acme, f"n{number}", name=f"Quiet {number}")
    for person, address in ((alice, PAGE), (platform_admin, OPS)):
        page = text(person.get(address))
        assert page.count('data-testid="alert"') - BLANK_ROWS == 50
        assert page.index("Needs somebody") < page.index("Quiet 59")
        assert "The rest stands under the states above." in page
        page = text(person.get(f"{address}?state=silenced"))
        assert "Needs somebody" not in page
        assert "Quiet 59" in page
        assert "Quiet 9<" not in page
        older = re.search(r'rel="next" href="([^"]+)"', page)[1].replace("&amp;", "&")
        page = text(person.get(address + older))
        assert "Quiet 9<" in page
        assert "Quiet 59" not in page
        assert page.count('data-testid="alert"') - BLANK_ROWS == 10
        newer = re.search(r'rel="prev" href="([^"]+)"', page)[1].replace("&amp;", "&")
        assert "Quiet 59" in text(person.get(address + newer))
        assert text(person.get(f"{address}?state=firing")).count('data-testid="alert"') - BLANK_ROWS == 1
        assert person.get(f"{address}?state=nonsense&before=x").status_code == 200


def test_pages_of_alerts_cost_the_same_for_many(acme, alice, platform_admin):
    raised(acme)
    few = [asked(person, address) for person, address in ((alice, PAGE), (platform_admin, OPS))]
    for number in range(20):
        silences.silence_alert(raised(acme, f"n{number}", name=f"Quiet {number}"), "Known", in_an_hour(), alice.user)
        rules.create_rule(acme, alice.user, name=f"Rule {number}", metric="load_1m", threshold=1)
    many = [asked(person, address) for person, address in ((alice, PAGE), (platform_admin, OPS))]
    assert many == few


def asked(person, address: str) -> int:
    """How many queries the page asks."""
    with CaptureQueriesContext(connection) as queries:
        assert person.get(address).status_code == 200
    return len(queries)


def in_an_hour():
    return timezone.now() + timedelta(hours=1)


def test_whether_samples_arrive_stands_on_the_page_and_goes_on(acme, alice, bob):
    at = timezone.now() - timedelta(minutes=5)
    record(acme, [Measured("load_1m", 1.0, at)])
    for person in (alice, bob):
        page = text(person.get(PAGE))
        assert f'data-samples="tenant:{acme.id}:dashboard"' in page, "what its script looks for"
        assert f"No samples since {at:%H:%M:%S} UTC" in page


def test_bob_sees_charts_and_is_told_whose_the_alerts_are(acme, bob):
    record(acme, [Measured("cpu_percent", 12.5, timezone.now(), "%")])
    raised(acme)
    page = text(bob.get(PAGE))
    assert "CPU" in page
    assert "Disk is full" not in page
    assert "are for the admins of Acme" in page


def test_alice_acknowledges_with_one_press_and_undoes_it(acme, alice):
    alert = raised(acme)
    answer = alice.post(f"{PAGE}alerts/{alert.pk}/acknowledge/", {"version": alert.version, "seen_state": "firing"})
    assert answer.status_code == 302
    assert fresh(alert).state == State.ACKNOWLEDGED
    page = text(alice.get(answer["Location"]))
    assert "You look after Disk is full now" in page
    assert "Alice looks after it" in page
    token = query_of(answer, "undo")
    alice.post(f"{PAGE}undo/", {"undo": token})
    assert fresh(alert).state == State.FIRING
    assert alice.post(f"{PAGE}undo/", {"undo": token}).status_code == 409, "there is nothing to undo any more"


def test_who_acknowledges_what_somebody_else_has_taken_gets_the_difference(acme, alice):
    alert = raised(acme)
    actions.acknowledge(alert, alice.user, note="Mine")
    answer = alice.post(f"{PAGE}alerts/{alert.pk}/acknowledge/", {"version": alert.version, "seen_state": "firing"})
    assert answer.status_code == 409
    assert "Acknowledged" in answer.content.decode()
    assert fresh(alert).note == "Mine"


def test_an_acknowledgement_may_have_a_note_and_an_end_and_be_handed_back(acme, alice):
    alert = raised(acme)
    alice.post(f"{PAGE}alerts/{alert.pk}/acknowledge/", {"note": "Ordered a disk", "hours": "4"})
    assert timedelta(hours=3) < fresh(alert).acknowledged_until - timezone.now() <= timedelta(hours=4)
    assert "Ordered a disk" in text(alice.get(f"{PAGE}alerts/{alert.pk}/"))
    alice.post(f"{PAGE}alerts/{alert.pk}/unacknowledge/", {"version": fresh(alert).version})
    assert fresh(alert).state == State.FIRING


def test_alice_silences_says_why_and_undoes_it(acme, alice):
    alert = raised(acme)
    address = f"{PAGE}alerts/{alert.pk}/silence/"
    assert "This field is required" in text(alice.post(address, {"reason": "", "lasts_hours": "4"}))
    assert fresh(alert).state == State.FIRING
    answer = alice.post(address, {"reason": "Being moved", "lasts_hours": "4", "ends_on_resolve": "on"})
    assert fresh(alert).state == State.SILENCED
    page = text(alice.get(answer["Location"]))
    assert "Alice silenced it until" in page
    assert "Being moved" in page
    alice.post(f"{PAGE}undo/", {"undo": query_of(answer, "undo")})
    assert fresh(alert).state == State.FIRING


def test_who_silences_what_has_changed_or_is_over_gets_the_difference(acme, alice):
    alert = raised(acme)
    page = text(alice.get(f"{PAGE}alerts/{alert.pk}/"))
    form = page[page.index('id="silence"') :]
    assert f'name="version" value="{alert.version}"' in form
    assert "data-live-lock" in form
    seen = {"version": alert.version, "seen_state": "firing", "reason": "Being moved", "lasts_hours": "4"}
    actions.acknowledge(alert, alice.user)
    answer = alice.post(f"{PAGE}alerts/{alert.pk}/silence/", seen)
    assert answer.status_code == 409
    assert "Acknowledged" in answer.content.decode()
    actions.resolve_alert(acme, alert.key)
    over = seen | {"version": fresh(alert).version}
    assert alice.post(f"{PAGE}alerts/{alert.pk}/silence/", over).status_code == 409
    with scopes_disabled():
        assert not Silence.objects.exists()


def test_a_silence_can_be_ended(acme, alice):
    alert = raised(acme)
    silence = silences.silence_alert(alert, "Being moved", timezone.now() + timedelta(hours=1), alice.user)
    alice.post(f"{PAGE}silences/{silence.pk}/end/")
    assert fresh(silence).ended_at
    assert fresh(alert).state == State.FIRING


def test_what_a_service_told_can_be_ended_by_hand(acme, alice):
    alert = raised(acme)
    alice.post(f"{PAGE}alerts/{alert.pk}/resolve/", {"version": alert.version})
    assert fresh(alert).state == State.RESOLVED
    assert "Resolved by Alice" in text(alice.get(PAGE))


def test_another_tenants_alert_rule_and_silence_do_not_exist(acme, globex, alice, charlie):
    alert = raised(globex)
    rule = rules.create_rule(globex, charlie.user, name="Theirs", metric="load_1m", threshold=1)
    silence = silences.silence_alert(alert, "Quiet", timezone.now() + timedelta(hours=1), charlie.user)
    for address in (f"alerts/{alert.pk}/", f"rules/{rule.pk}/"):
        assert alice.get(PAGE + address).status_code == 404
    acts = (f"alerts/{alert.pk}/acknowledge/", f"silences/{silence.pk}/end/", f"rules/{rule.pk}/delete/")
    for address in acts:
        assert alice.post(PAGE + address).status_code == 404
    assert fresh(alert).state == State.SILENCED


# --- Rules ------------------------------------------------------------------------------------------------------------

RULE = {
    "name": "CPU is busy",
    "metric": "cpu_percent",
    "kind": "threshold",
    "aggregate": "avg",
    "comparison": "above",
    "threshold": "90",
    "window": "5",
    "lasting": "2",
    "severity": "error",
    "enabled": "on",
}


def busy_twice(tenant) -> None:
    """Two hours of samples, in which it was busy for ten minutes twice."""
    now = timezone.now()
    samples = [
        Measured("cpu_percent", 95.0 if minute in range(30, 40) or minute in range(100, 110) else 20.0, at, "%")
        for minute in range(1, 121)
        for at in [now - timedelta(minutes=minute)]
    ]
    record(tenant, samples)


def test_a_rule_is_tried_on_the_last_day_before_it_is_saved(acme, alice):
    busy_twice(acme)
    page = text(alice.post(f"{PAGE}rules/new/", RULE | {"do": "try"}))
    assert "It would have fired 2 times in the last day." in page or "have fired 2 times" in page
    assert page.count('class="fired"') == 2
    assert "<h3>CPU, in %</h3>" in page
    assert "Where the line is missing: no samples." in page
    assert page.count('<td class="end">no samples</td>') > 40, "two of 24 hours have samples"
    assert re.search(r'<th scope="row"><time[^>]*>\d+ \w+ 20\d\d, ', page), "a day has two dates"
    with scopes_disabled():
        assert not AlertRule.objects.exists()
    assert alice.post(f"{PAGE}rules/new/", RULE).status_code == 302
    with scopes_disabled():
        made = AlertRule.objects.get()
    assert (made.window_seconds, made.for_seconds, made.threshold, made.tenant) == (300, 120, 90.0, acme)
    page = text(alice.get(PAGE))
    assert "CPU above 90 %, average of 5 min, for 2 min" in page


def test_a_rule_that_can_not_be_says_which_field(acme, alice):
    page = text(alice.post(f"{PAGE}rules/new/", RULE | {"threshold": ""}))
    assert "Say from which value on it fires." in page
    page = text(alice.post(f"{PAGE}rules/new/", RULE | {"recovery": "95"}))
    assert "it would never be over" in page
    page = text(alice.post(f"{PAGE}rules/new/", RULE | {"message": "{nonsense}"}))
    assert "may stand in braces" in page
    page = text(alice.post(f"{PAGE}rules/new/", RULE | {"threshold": "1e19"}))
    assert "A number from -1e+18 to 1e+18." in page, "the API could not say another"
    with scopes_disabled():
        assert not AlertRule.objects.exists()


def test_a_rule_is_changed_unless_somebody_else_was_quicker(acme, alice):
    rule = rules.create_rule(acme, alice.user, name="CPU is busy", metric="cpu_percent", threshold=90)
    address = f"{PAGE}rules/{rule.pk}/"
    assert 'value="90.0"' in text(alice.get(address))
    assert alice.post(address, RULE | {"version": rule.version, "threshold": "80"}).status_code == 302
    assert fresh(rule).threshold == 80
    assert alice.post(address, RULE | {"version": rule.version, "threshold": "70"}).status_code == 409
    assert fresh(rule).threshold == 80


@pytest.mark.parametrize(("window", "lasting"), [(90, 6), (61, 7), (300, 0), (86_399, 1)])
def test_saving_a_rule_changes_nothing_that_nobody_changed(acme, alice, window, lasting):
    """The API takes seconds, the page minutes."""
    kept = {"window_seconds": window, "for_seconds": lasting, "hold_seconds": 45, "labels": {"team": "web"}}
    facts = {"name": "Silent", "metric": "cpu_percent", "kind": "absence", "threshold": None}
    rule = rules.create_rule(acme, alice.user, **kept, **facts)
    page = text(alice.get(f"{PAGE}rules/{rule.pk}/"))
    shown = {name: re.search(rf'name="{name}" value="([^"]*)"', page)[1] for name in ("window", "lasting")}
    answer = alice.post(f"{PAGE}rules/{rule.pk}/", RULE | shown | {"kind": "absence", "name": "Quiet", "version": 1})
    assert answer.status_code == 302
    assert {name: getattr(fresh(rule), name) for name in kept} == kept


def test_a_rule_is_deleted_and_brought_back(acme, alice):
    rule = rules.create_rule(acme, alice.user, name="CPU is busy", metric="cpu_percent", threshold=90)
    answer = alice.post(f"{PAGE}rules/{rule.pk}/delete/")
    assert "The rule CPU is busy was deleted." in text(alice.get(answer["Location"]))
    with scopes_disabled():
        assert not AlertRule.objects.exists()
    alice.post(f"{PAGE}rules/undo/", {"undo": query_of(answer, "undo_rule")})
    with scopes_disabled():
        assert AlertRule.objects.get().threshold == 90


# --- Operations -------------------------------------------------------------------------------------------------------


def test_ada_sees_every_tenants_alerts_and_may_act_on_the_platforms_own(acme, globex, platform_admin):
    raised(acme)
    raised(globex, name="Globex is slow")
    own = raised(None, name="Engine")
    page = text(platform_admin.get("/ops/monitoring/"))
    assert "3 alerts need somebody" in page
    assert "Globex is slow" in page
    answer = platform_admin.post(f"/ops/monitoring/alerts/{own.pk}/acknowledge/", {"version": own.version})
    assert fresh(own).state == State.ACKNOWLEDGED
    assert "You look after Engine now" in text(platform_admin.get(answer["Location"]))


def test_a_tenants_alert_is_not_the_platforms_to_acknowledge(acme, platform_admin):
    alert = raised(acme)
    assert platform_admin.post(f"/ops/monitoring/alerts/{alert.pk}/acknowledge/").status_code == 404
    assert platform_admin.get(f"/ops/monitoring/alerts/{alert.pk}/").status_code == 404


def test_ada_sees_who_is_called_and_whose_samples_have_stopped(acme, alice, platform_admin):
    alert = called_about(raised(acme))
    record(acme, [Measured("load_1m", 1.0, timezone.now() - timedelta(minutes=5))])
    page = text(platform_admin.get("/ops/monitoring/"))
    assert "samples of 1 have stopped" in page
    calls = page[page.index('id="calls"') :]
    assert "Alice" in calls[: calls.index("</section>")]
    assert "<dt>Called</dt><dd>Alice," in text(alice.get(f"{PAGE}alerts/{alert.pk}/"))


def test_after_a_call_the_page_reads_anew_who_was_called_and_its_forms_are_about_what_is_now(acme, alice):
    alert = raised(acme)
    before = text(alice.get(f"{PAGE}alerts/{alert.pk}/"))
    assert 'data-module="alerts" data-rereads="alert alert_escalated"' in before
    assert "alert_escalated" in text(alice.get(PAGE)).split('data-rereads="')[1].split('"')[0]
    called_about(alert)
    with scopes_disabled():
        told = Event.objects.get(type="alert_escalated").payload
    assert (told["alertId"], told["version"]) == (str(alert.pk), alert.version + 1), "what the page's script waits for"
    stale = {"version": alert.version, "seen_state": "firing"}
    assert alice.post(f"{PAGE}alerts/{alert.pk}/acknowledge/", stale).status_code == 409
    now = stale | {"version": told["version"]}
    assert alice.post(f"{PAGE}alerts/{alert.pk}/acknowledge/", now).status_code == 302


def test_who_was_called_and_is_nobody_any_more_is_somebody(acme, alice, platform_admin):
    called_about(raised(acme))
    Membership.objects.with_scopes_disabled().filter(user=alice.user).delete()
    User.objects.filter(pk=alice.user.pk).delete()
    page = text(platform_admin.get("/ops/monitoring/"))
    calls = page[page.index('id="calls"') :]
    assert "somebody" in calls[: calls.index("</section>")]


def test_the_platforms_own_silence_is_ended_by_the_platforms_admins_alone(acme, alice, platform_admin):
    alert = raised(None, name="Engine")
    address = f"/ops/monitoring/alerts/{alert.pk}/silence/"
    assert alice.post(address, {"reason": "x", "lasts_hours": "1"}).status_code == 404
    platform_admin.post(address, {"reason": "Being replaced", "lasts_hours": "1"})
    with scopes_disabled():
        silence = Silence.objects.get()
    assert fresh(alert).state == State.SILENCED
    platform_admin.post(f"/ops/monitoring/silences/{silence.pk}/end/")
    assert fresh(alert).state == State.FIRING
