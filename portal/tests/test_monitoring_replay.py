"""Old state + events = fresh state where alerts stand: the tenant's page, each alert's own, and that of all tenants.

The list of alerts, its verdict and the title move by events alone; the regions beside them are read anew, here from the
page as it is rendered now.
"""

import json
from datetime import timedelta
from itertools import pairwise

import pytest
from django.utils import timezone
from django_scopes import scopes_disabled
from playwright.sync_api import Page

from events import channels, numbering
from events.channels import Topic
from events.models import Entry
from monitoring.alerting import actions, rules, silences
from monitoring.alerting.actions import Raised
from monitoring.alerting.escalation import escalate_due
from monitoring.alerting.models import Alert, Source
from tests.replay import CHROMIUM, NORMALISED, Old, all_become_fresh, orders_of, shown

pytestmark = [
    pytest.mark.once,  # what a page's script does knows neither database nor engine
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

HOME, ACME, OPS = "/t/acme/", "/t/acme/monitoring/", "/ops/monitoring/"
SEVERITIES = ("warning", "error", "critical")
CALLED_AT_ONCE = [{"after_seconds": 0, "people": [], "ways": ["in_app"]}]

PLAY = """async ([events, rereads]) => {
  const { start } = await import("/static/js/alerts.js");
  const { mergePage } = await import("/static/js/live.js");
  const { listOf } = await import("/static/js/rows.js");
  Math.random = () => 0;
  const [heard, catchUps] = [[], []];
  let reread;
  const wasReread = new Promise((resolve) => (reread = resolve));
  const live = {
    onEvent: (handler) => heard.push(handler),
    onCatchUp: (handler) => catchUps.push(handler),
    announcements: { say() {} },
    reload: async () => {
      const fresh = new DOMParser().parseFromString(await (await fetch("/fresh/")).text(), "text/html");
      await mergePage(fresh);
      for (const catchUp of catchUps) await catchUp(fresh);
      reread();
    },
  };
  const root = document.querySelector("[data-module=alerts]");
  const types = rereads ? root.dataset.rereads.split(" ") : [];
  root.dataset.rereads = types.join(" ");
  start(root, live);
  const told = JSON.parse(events);
  for (const event of told) for (const handler of heard) handler(event);
  if (told.some(({ type }) => types.includes(type))) await wasReread;
  for (const body of root.querySelectorAll("[data-live-list]")) listOf(body).show();
  delete root.dataset.rereads;
  for (const tally of root.querySelectorAll("[data-alert-tally]")) tally.remove(); // what the next event counts from
}"""
COUNT = """async events => {
  const { start } = await import("/static/js/rows.js");
  const heard = [];
  start(document.querySelector("[data-module=checks]"), { onEvent: (handler) => heard.push(handler), onCatchUp() {} });
  for (const event of JSON.parse(events)) for (const handler of heard) handler(event);
  document.querySelector("[data-alert-tally]").remove();
}"""
#: What no event tells is read anew.
ALONE = """() => {
  const reread = "#own, #calls, #tenants, #rules, #silences, #over";
  for (const region of document.querySelectorAll(reread)) region.remove();
}"""


def raised(tenant, key: str, severity: str = "warning", name: str = "") -> Alert:
    said = Raised(Source.API, key, name or f"{key.capitalize()} is unwell", severity, f"{key} is {severity}", began())
    return actions.raise_alert(tenant, said)


def began():
    return timezone.now() - timedelta(minutes=3)


def soon():
    return timezone.now() + timedelta(hours=1)


def an_hour(acme, globex, alice, platform_admin, known: dict[str, Alert]) -> None:
    """Alerts come, get worse, are looked after, handed back, silenced, called about, and end, in every state."""
    for quiet, loud in pairwise(SEVERITIES):
        raised(acme, "disk", quiet)
        raised(acme, "disk", loud)
        raised(acme, f"new {loud}", quiet)
    actions.acknowledge(known["web"], alice.user, note="Restarting", until=soon())
    silence = silences.silence_alert(known["queue"], "Being moved", soon(), alice.user)
    actions.unacknowledge(known["mail"], alice.user)
    escalate_due()
    actions.acknowledge(known["mail"], alice.user)
    silences.end_silence(silence, alice.user)
    silences.silence_alert(known["backup"], "Known", soon(), alice.user)
    actions.resolve_by_hand(known["web"], alice.user)
    raised(acme, "short")
    actions.resolve_alert(acme, "short")
    raised(globex, "globex")
    for act in (actions.acknowledge, actions.unacknowledge):
        act(known["engine"], platform_admin.user)
    raised(None, "engine", "critical")
    raised(None, "relay")


@pytest.fixture
def story(acme, globex, alice, platform_admin):
    """Pages as they were before an hour, the events of it, and the pages after it."""
    with scopes_disabled():
        known = {key: raised(acme, key) for key in ("disk", "web", "queue", "mail", "backup")}
        known["engine"] = raised(None, "engine")
        actions.acknowledge(known["mail"], alice.user)
        at_once = rules.create_policy(acme, None, name="At once", steps=CALLED_AT_ONCE)
        Alert.objects.filter(pk=known["mail"].pk).update(policy=at_once)
    own = channels.tenant(acme.id, Topic.MONITORING)
    pages = {ACME: (alice, [own]), OPS: (platform_admin, [channels.ADMIN_MONITORING, channels.SYSTEM_ALERTS])}
    pages |= {HOME: pages[ACME], f"{ACME}?state=firing": pages[ACME], f"{OPS}?tenant=acme&state=silenced": pages[OPS]}
    pages |= {f"{ACME}alerts/{known[key].pk}/": pages[ACME] for key in ("disk", "web", "mail", "backup")}
    pages |= {f"{OPS}alerts/{known['engine'].pk}/": (platform_admin, [channels.SYSTEM_ALERTS])}
    told()
    old = {path: who.get(path).content.decode() for path, (who, _) in pages.items()}
    before = {path: len(told(*followed)) for path, (_, followed) in pages.items()}
    with scopes_disabled():
        an_hour(acme, globex, alice, platform_admin, known)
    events = {path: told(*followed) for path, (_, followed) in pages.items()}
    fresh = {path: who.get(path).content.decode() for path, (who, _) in pages.items()}
    return [Old(path, old[path], fresh[path], orders_of(events[path], before[path], shuffles=2)) for path in pages]


@scopes_disabled()
def told(*followed: channels.Channel) -> list[dict]:
    """What has been pushed on these channels, in the log's order; what goes to two of them comes twice."""
    numbering.number()
    entries = Entry.objects.select_related("event").order_by("seq")
    return [entry.event.wire(entry.seq) for entry in entries for one in followed if one.name in entry.event.channels]


def titled(page: Page) -> str:
    return f"{page.title()}\n{shown(page)}"


def test_the_lists_and_titles_of_an_old_page_come_by_events_alone_to_what_is_so_now(story):
    def play(page: Page, events: list[dict]) -> None:
        page.evaluate(PLAY, [json.dumps(events), False])
        page.evaluate(ALONE)

    all_become_fresh(
        [one for one in story if one.path.startswith((ACME, OPS)) and "alerts/" not in one.path], play, titled
    )


def test_an_old_page_that_reads_anew_what_no_event_tells_is_the_fresh_page(story):
    def play(page: Page, events: list[dict]) -> None:
        page.evaluate(PLAY, [json.dumps(events), True])

    all_become_fresh([one for one in story if one.path != HOME], play, titled)


def test_home_counts_what_fires_by_events_alone(story):
    def play(page: Page, events: list[dict]) -> None:
        page.evaluate(COUNT, json.dumps(events))

    all_become_fresh([one for one in story if one.path == HOME], play, attention)


def attention(page: Page) -> str:
    return str(page.evaluate(NORMALISED, page.query_selector("#attention-panel")))


def test_an_alerts_own_page_says_in_its_title_how_it_is(story):
    pages = [one for one in story if "alerts/" in one.path]
    assert len(pages) == 5

    def play(page: Page, events: list[dict]) -> None:
        page.evaluate(PLAY, [json.dumps(events), False])

    all_become_fresh(pages, play, lambda page: page.title() + page.get_by_test_id("state").inner_text())
