"""Old state + events = fresh state, for each page: an old page is given every event since, repeated and out of order,
in a real browser, and must then be what the server renders now (after Show, where rows wait for it)."""

import difflib
import json
import mimetypes
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import transaction
from django_scopes import scope, scopes_disabled
from playwright.sync_api import Page, Route, sync_playwright

from deployments import actions
from deployments.models import Deployment, StepStatus, wire_time
from deployments.signals import deployment_changed
from events.models import Event

pytestmark = [pytest.mark.browser, pytest.mark.once]  # what a page's script does knows neither database nor engine

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium")
SITE = "http://page.test"

#: What differs between two renders of the same state: keys of forms, and words that count time.
NORMALISED = """root => {
  for (const node of root.querySelectorAll("[name=csrfmiddlewaretoken], [name=idempotency_key]")) node.remove();
  for (const node of root.querySelectorAll("[data-relative], [data-elapsed]")) node.textContent = "";
  for (const node of root.querySelectorAll("template, [data-tallies]")) node.remove();
  for (const node of root.querySelectorAll("[data-live-list]")) { delete node.dataset.low; delete node.dataset.high; }
  for (const node of root.querySelectorAll("[class='']")) node.removeAttribute("class");
  for (const node of root.querySelectorAll("[data-live-word]")) node.textContent = "";
  for (const node of root.querySelectorAll("[data-log]")) { delete node.dataset.ended; delete node.dataset.started; }
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_COMMENT);
  const texts = [];
  while (walker.nextNode()) texts.push(walker.currentNode);
  for (const text of texts) text.data.trim() ? (text.data = text.data.trim()) : text.remove();
  for (const node of root.querySelectorAll("*")) {
    const sorted = [...node.attributes].map(({name, value}) => [name, value]).sort();
    for (const [name] of sorted) node.removeAttribute(name);
    for (const [name, value] of sorted) node.setAttribute(name, value);
  }
  return root.outerHTML.replaceAll("><", ">\\n<");
}"""


@contextmanager
def browser_page(pages: dict[str, str]) -> Iterator[Page]:
    """A page whose addresses under SITE are these, and whose static files are ours."""

    def answer(route: Route) -> None:
        path = route.request.url.removeprefix(SITE).partition("?")[0]
        if path in pages:
            route.fulfill(body=pages[path], content_type="text/html; charset=utf-8")
        elif path.endswith("/js/page.js"):
            route.fulfill(body="", content_type="text/javascript")  # nothing starts by itself
        elif path.startswith("/static/"):
            file = ROOT / path.lstrip("/")
            route.fulfill(body=file.read_bytes(), content_type=mimetypes.guess_type(file.name)[0] or "text/plain")
        else:
            route.abort()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.route("**/*", answer)
        yield page
        browser.close()


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
    orders = [events[known:], [*events, *events], *(shuffled(events, seed) for seed in range(3))]
    for path in PATHS:
        place = path.partition("?")[0]
        with browser_page({place: old[path], "/fresh/": fresh[path]}) as page:
            page.goto(f"{SITE}/fresh/")
            expected = page.evaluate(NORMALISED, page.query_selector("main"))
            for order in orders:
                page.goto(SITE + path)
                replay(page, order)
                assert differences(page.evaluate(NORMALISED, page.query_selector("main")), expected) == "", path


def differences(now: str, fresh: str) -> str:
    lines = difflib.unified_diff(now.splitlines(), fresh.splitlines(), "replayed", "fresh", lineterm="", n=0)
    return "\n".join(lines)


def shuffled(events: list[dict], seed: int) -> list[dict]:
    found = [*events, *events[::3]]
    random.Random(seed).shuffle(found)
    return found


def replay(page: Page, events: list[dict]) -> None:
    page.evaluate(
        """async events => {
          const { applyUpdate } = await import("/static/js/rows.js");
          const { listOf } = await import("/static/js/lists.js");
          for (const event of JSON.parse(events)) applyUpdate(event);
          await import("/static/js/feed.js"); // the home page has one
          for (const body of document.querySelectorAll("[data-live-list]")) listOf(body).show();
        }""",
        json.dumps(events),
    )
