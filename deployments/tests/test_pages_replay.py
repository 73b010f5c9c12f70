"""Old state + events = fresh state, for each page: an old page is given every event since, repeated and out of order,
in a real browser, and must then be what the server renders now (after Show, where rows wait for it)."""

import json

import pytest
from django.db import transaction
from django_scopes import scope, scopes_disabled
from playwright.sync_api import Page

from deployments import actions
from deployments.models import Deployment, StepStatus, wire_time
from deployments.signals import deployment_changed
from events.models import Event
from tests.replay import CHROMIUM, Old, all_become_fresh, orders_of

pytestmark = [pytest.mark.browser, pytest.mark.once]  # what a page's script does knows neither database nor engine


def advance(deployment: Deployment, status: str, by=None, **fields) -> None:
    """Change a deployment as a runner would, with its event."""
    with scope(tenant=deployment.tenant):
        row = actions.locked(deployment)
        for name, value in fields.items():
            setattr(row, name, value)
        row.move_to(status, reason=fields.get("reason", ""))
        row.lease_expires_at = row.heartbeat_at = row.created_at if row.is_active else None
        row.runner = "runner"
        row.save()
        deployment_changed.send(Deployment, deployment=row, by=by)
        if status == "starting":
            actions.move_queue_up(row)


def step(deployment: Deployment, status: str, **more) -> list[dict]:
    at = wire_time(deployment.created_at)
    ended = at if status in (StepStatus.COMPLETED, StepStatus.FAILED) else None
    return [deployment.steps[0] | {"status": str(status), "startedAt": at, "endedAt": ended} | more]


def live_through_an_hour(acme, alice, stack) -> None:
    """Deployments come, wait, run, end in every way, are tried again and rolled back to."""
    with scope(tenant=acme):
        first, second, third = Deployment.objects.order_by("number")
    advance(first, "starting")
    actions.request_deployment(acme, stack, {"TITLE": "New"}, by=alice.user, name="site")
    advance(first, "running", steps=step(first, StepStatus.RUNNING))
    actions.cancel(second, by=alice.user)
    advance(third, "starting")
    advance(first, "failed", steps=step(first, StepStatus.FAILED, exitCode=3), reason="Step 1 ended with exit code 3.")
    advance(third, "running", steps=step(third, StepStatus.RUNNING))
    actions.cancel(third, by=alice.user)
    again = actions.retry(first, by=alice.user)
    advance(again, "starting")
    advance(again, "running", steps=step(again, StepStatus.RUNNING))
    advance(again, "completed", steps=step(again, StepStatus.COMPLETED, exitCode=0))
    advance(third, "completed", steps=step(third, StepStatus.COMPLETED, exitCode=0))
    back = actions.roll_back(third, by=alice.user)
    actions.cancel(back, by=alice.user)
    actions.roll_back(third, by=alice.user)


def wire_events() -> list[dict]:
    with scopes_disabled():
        return [event.wire(seq) for seq, event in enumerate(Event.objects.filter(type="deployment_update"), start=1)]


PATHS = [
    "/t/acme/",
    "/t/acme/deployments/",
    "/t/acme/deployments/?status=active",
    "/t/acme/deployments/?status=failed&q=web",
    "/t/acme/deployments/stacks/web/",
    "/t/acme/deployments/1/",
    "/t/acme/deployments/3/",
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_an_old_page_given_the_events_is_the_page_the_server_renders_now(acme, alice, stack):
    for _ in range(3):
        actions.request_deployment(acme, stack, {"TITLE": "Acme"}, by=alice.user)
    old = {path: alice.get(path).content.decode() for path in PATHS}
    known = len(wire_events())
    with transaction.atomic():
        live_through_an_hour(acme, alice, stack)
    events = wire_events()
    fresh = {path: alice.get(path).content.decode() for path in PATHS}
    all_become_fresh([Old(path, old[path], fresh[path], orders_of(events, known)) for path in PATHS], replay)


def replay(page: Page, events: list[dict]) -> None:
    page.evaluate(
        """async events => {
          const { applyUpdate, listOf } = await import("/static/js/rows.js");
          for (const event of JSON.parse(events)) applyUpdate(event);
          await import("/static/js/feed.js"); // the home page has one
          for (const body of document.querySelectorAll("[data-live-list]")) listOf(body).show();
        }""",
        json.dumps(events),
    )
