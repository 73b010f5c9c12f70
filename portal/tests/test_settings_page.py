"""The name and time zone of acme: what Alice did not see is not overwritten, what she typed is kept."""

import pytest

from events.models import Event
from tenants import actions

pytestmark = pytest.mark.django_db
SETTINGS = "/t/acme/settings/"
SEEN = {"seen_name": "Acme", "seen_time_zone": "UTC"}


def test_alice_changes_name_and_time_zone(alice, acme):
    response = alice.post(SETTINGS, {"name": "Acme & Sons", "time_zone": "Europe/Lisbon", **SEEN}, follow=True)
    html = response.content.decode()
    assert "Saved." in html
    assert "<dd>Acme &amp; Sons</dd>" in html
    acme.refresh_from_db()
    assert (acme.name, acme.time_zone) == ("Acme & Sons", "Europe/Lisbon")
    event = Event.objects.with_scopes_disabled().latest("id")
    assert (event.type, event.payload["name"], event.summary) == (
        "tenant_updated",
        "Acme & Sons",
        "Alice changed the settings of Acme & Sons",
    )


def test_a_name_that_somebody_else_gave_meanwhile_is_shown_and_not_overwritten(alice, acme):
    actions.update_tenant(acme, by=None, name="Acme International")
    sent = {"name": "Acme & Sons", "time_zone": "UTC"}
    response = alice.post(SETTINGS, {**sent, **SEEN})
    html = response.content.decode()
    assert response.status_code == 409
    assert "The settings of Acme International were changed since you opened the page. Nothing was changed now." in html
    assert "<td>Acme</td><td><strong>Acme International</strong></td>" in html
    assert 'value="Acme &amp; Sons"' in html, "what was typed is kept"
    acme.refresh_from_db()
    assert acme.name == "Acme International"

    alice.post(SETTINGS, {**sent, "seen_name": "Acme International", "seen_time_zone": "UTC"})
    acme.refresh_from_db()
    assert acme.name == "Acme & Sons", "she has seen it, and replaces it on purpose"


def test_a_new_key_is_no_change_of_the_settings(alice, acme):
    actions.create_api_key(acme, "ci", ["events:read"], by=None)
    assert alice.post(SETTINGS, {"name": "Acme", "time_zone": "Asia/Tokyo", **SEEN}).status_code == 302


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "", "This field is required"),
        ("name", "x" * 151, "at most 150 characters"),
        ("time_zone", "Mars/Olympus", "is not a time zone. Use a name like Europe/Lisbon."),
    ],
)
def test_what_cannot_be_is_said_at_the_field(alice, acme, field, value, words):
    response = alice.post(SETTINGS, {"name": "Acme", "time_zone": "UTC", **SEEN, field: value})
    html = response.content.decode()
    assert words in html
    assert "Not saved" in html
    assert f'href="#id_{field}"' in html
    acme.refresh_from_db()
    assert (acme.name, acme.time_zone) == ("Acme", "UTC")
