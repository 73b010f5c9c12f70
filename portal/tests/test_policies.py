"""Who is called about alerts, at a tenant and at the platform; and the platform's own rules."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_scopes import scopes_disabled

from monitoring.alerting import rules
from monitoring.alerting.models import AlertRule, EscalationPolicy
from monitoring.models import PlatformMinute
from portal.tests.test_monitoring import RULE, query_of, text

pytestmark = pytest.mark.django_db
ACME, OPS, RULES = "/t/acme/monitoring/policies/", "/ops/monitoring/policies/", "/ops/monitoring/rules/"


def filled(*steps: dict, **fields: str) -> dict:
    """The form as a browser sends it."""
    found: dict = {"name": "On call", "repeat": "60", "steps-TOTAL_FORMS": str(len(steps)), "steps-INITIAL_FORMS": "0"}
    for number, step in enumerate(steps):
        found |= {f"steps-{number}-{name}": value for name, value in step.items()}
    return found | fields


def only_policy() -> EscalationPolicy:
    with scopes_disabled():
        return EscalationPolicy.objects.get()


def test_alice_says_who_is_called_after_how_long_and_how(acme, alice, bob):
    assert "Nobody is called yet" in text(alice.get(ACME))
    steps = (
        {"after": "1.5", "ways": ["in_app"]},
        {"after": "15", "ways": ["in_app", "email"], "people": [str(alice.user.pk)]},
    )
    answer = alice.post(f"{ACME}new/", filled(*steps, {"after": ""}, is_default="on"))
    assert answer["Location"] == ACME
    made = only_policy()
    assert (made.tenant, made.repeat_seconds, made.is_default) == (acme, 3600, True)
    assert made.steps == [
        {"after_seconds": 90, "people": [], "ways": ["in_app"]},
        {"after_seconds": 900, "people": [str(alice.user.pk)], "ways": ["in_app", "email"]},
    ]
    page = text(alice.get(ACME))
    for words in (
        "After 90 s: all admins, in app",
        "After 15 min: Alice, in app and by e-mail",
        "Then again every 1 h",
    ):
        assert words in page, words
    page = text(alice.get(f"{ACME}{made.pk}/"))
    assert 'value="1.5"' in page
    assert "Bob" not in page, "he can't see alerts"


def test_what_can_not_be_is_said_and_nothing_is_saved(acme, alice):
    for data, problem in (
        (filled({"after": "5", "ways": []}), "Each step has ways to call"),
        (filled({"after": ""}), "Give 1 to 10."),
        (
            filled({"after": "9", "ways": ["email"]}, {"after": "5", "ways": ["email"]}),
            "Each comes after the one before",
        ),
        (filled({"after": "soon", "ways": ["email"]}), "Step 1, after, minutes: Enter a number."),
        (filled({"after": "5", "ways": ["email"]}, repeat="0.5"), "Once a minute at most"),
    ):
        page = text(alice.post(f"{ACME}new/", data))
        assert problem in page
        assert "Nothing was changed." in page
    with scopes_disabled():
        assert not EscalationPolicy.objects.exists()


def test_a_policy_is_changed_unless_somebody_else_was_quicker(acme, alice):
    alice.post(f"{ACME}new/", filled({"after": "5", "ways": ["email"]}))
    made = only_policy()
    data = filled({"after": "100", "ways": ["in_app"]}, version=str(made.version))
    assert alice.post(f"{ACME}{made.pk}/", data).status_code == 302
    assert only_policy().steps[0]["after_seconds"] == 6000
    assert alice.post(f"{ACME}{made.pk}/", data).status_code == 409


def test_a_policy_that_rules_name_is_not_deleted(acme, alice):
    alice.post(f"{ACME}new/", filled({"after": "5", "ways": ["email"]}))
    made = only_policy()
    rule = rules.create_rule(acme, alice.user, name="Busy", metric="load_1m", threshold=1, policy=made)
    answer = alice.post(f"{ACME}{made.pk}/delete/")
    assert answer.status_code == 409
    assert "1 rule names On call" in answer.content.decode()
    assert "Named by 1 rule" in text(alice.get(ACME))
    rules.delete_rule(rule, alice.user)
    alice.post(f"{ACME}{made.pk}/delete/")
    with scopes_disabled():
        assert not EscalationPolicy.objects.exists()


def test_another_tenants_policy_does_not_exist_and_the_platforms_is_nobody_elses(
    acme, globex, alice, charlie, platform_admin
):
    steps = [{"after_seconds": 0, "people": [], "ways": ["in_app"]}]
    for owner in (globex, None):
        made = rules.create_policy(owner, None, name="Theirs", steps=steps)
        assert alice.get(f"{ACME}{made.pk}/").status_code == 404
        assert alice.post(f"{ACME}{made.pk}/delete/").status_code == 404
    assert "Theirs" in text(platform_admin.get(OPS))
    assert text(platform_admin.get(OPS)).count("policy-row") == 1


def test_a_list_of_policies_costs_the_same_for_many(acme, alice):
    steps = [{"after_seconds": 0, "people": [str(alice.user.pk)], "ways": ["in_app"]}]
    counts = []
    for number in range(8):
        rules.create_policy(acme, None, name=f"Policy {number}", steps=steps)
        if number in (0, 7):
            with CaptureQueriesContext(connection) as queries:
                alice.get(ACME)
            counts.append(len(queries))
    assert counts[0] == counts[1]


# --- The platform's rules ---------------------------------------------------------------------------------------------


def busy(minutes: int) -> None:
    """A minute with 50 events a second, again and again."""
    now = PlatformMinute.period_of(timezone.now())
    values = {"count": 1, "sum": 50, "min": 50, "max": 50}
    PlatformMinute.objects.bulk_create(
        PlatformMinute(name="events_per_second", minute=now - minute, **values) for minute in range(minutes)
    )


PLATFORMS = RULE | {
    "name": "Many events",
    "metric": "events_per_second",
    "threshold": "40",
    "window": "1",
    "lasting": "0",
}


def test_ada_tries_a_rule_of_the_platform_on_the_last_day_saves_changes_and_deletes_it(platform_admin, alice):
    assert "No rules yet" in text(platform_admin.get(RULES))
    busy(90)
    page = text(platform_admin.post(f"{RULES}new/", PLATFORMS | {"do": "try"}))
    assert "It would have fired once in the last day." in page
    assert platform_admin.post(f"{RULES}new/", PLATFORMS)["Location"] == RULES
    with scopes_disabled():
        made = AlertRule.objects.get()
        assert made.tenant is None
    assert "Events per second above 40, average of 1 min" in text(platform_admin.get(RULES))
    data = PLATFORMS | {"version": made.version, "threshold": "60"}
    assert platform_admin.post(f"{RULES}{made.pk}/", data).status_code == 302
    assert platform_admin.post(f"{RULES}{made.pk}/", data).status_code == 409
    answer = platform_admin.post(f"{RULES}{made.pk}/delete/")
    assert "The rule Many events was deleted." in text(platform_admin.get(answer["Location"]))
    platform_admin.post(f"{RULES}undo/", {"undo": query_of(answer, "undo_rule")})
    with scopes_disabled():
        assert AlertRule.objects.get().threshold == 60


def test_the_form_of_a_platforms_rule_offers_its_figures_and_no_tenants_rule(acme, alice, platform_admin):
    tenants = rules.create_rule(acme, alice.user, name="Acme's", metric="load_1m", threshold=1)
    assert platform_admin.get(f"{RULES}{tenants.pk}/").status_code == 404
    assert "Acme" not in text(platform_admin.get(RULES))
