"""Old state + events = fresh state, for the inbox and its bell: an old page is given every event since, repeated and
out of order, in a real browser, and must then, after Show, be what the server renders now."""

import json
from uuid import uuid4

import pytest
from django_scopes import scopes_disabled

from events.models import Event
from notifications import actions
from notifications.actions import Message
from notifications.models import Notification
from tests.replay import CHROMIUM, NORMALISED, Old, all_become_fresh, orders_of

pytestmark = [pytest.mark.browser, pytest.mark.once]

PATHS = [
    "/notifications/",
    "/notifications/?show=unread",
    "/notifications/?tenant=acme",
    "/notifications/?show=archive",
    "/notifications/?about=deployments&level=error",
]

#: As of when a row was made is no part of what it says, and an event's moment is some milliseconds after its row's.
PLAIN = """() => {
  for (const node of document.querySelectorAll("[data-version]")) delete node.dataset.version;
  for (const node of document.querySelectorAll("main time")) { node.removeAttribute("datetime"); node.title = ""; }
  for (const node of document.querySelectorAll("[name=up_to], #inbox-panel > header")) node.remove();
}"""

#: What no event tells (a row that was not on the page comes back), the page asks the server, as it does when live.
REPLAY = """async ([events, user]) => {
  const { listOf } = await import("/static/js/rows.js");
  const [inbox, bell] = [await import("/static/js/inbox.js"), await import("/static/js/bell.js")];
  const list = document.getElementById("inbox");
  const [heard, reloads] = [[], []];
  const reload = async () => {
    const fresh = new DOMParser().parseFromString(await (await fetch("/fresh/")).text(), "text/html");
    const replace = (now, next) => now.replaceWith(document.importNode(next, true));
    listOf(list).merge(fresh.getElementById("inbox"), replace);
  };
  const live = {
    config: { user, now: new Date().toISOString() },
    onEvent: (handler) => heard.push(handler),
    reload: () => (reloads.push(reload()), reloads.at(-1)),
  };
  inbox.start(list, live);
  bell.start(document.getElementById("bell"), live);
  for (const event of JSON.parse(events)) for (const handler of heard) handler(event, `user:${user}:inbox`);
  await Promise.all(reloads);
  listOf(list).show();
}"""


def tell(person, title: str, tenant, group: str) -> Notification:
    link, about = f"/t/acme/?{title}", f"deployment:{uuid4()}"
    message = Message(
        uuid4(), "deployment_failed", title, "It ended.", "error", link, about, group, tenant, f"cause:{title}"
    )
    return actions.notify([person.user.pk], message)[0]


def live_through_an_hour(person, acme, known: list[Notification]) -> None:
    """Notifications come, are read and unread, removed and brought back, old ones and new ones."""
    bob, ids = person.user, [one.pk for one in known]
    new = [tell(person, f"new {n}", acme if n % 2 else None, group).pk for n, group in enumerate("acxa")]
    actions.mark_read(bob, [ids[0], new[0]])
    actions.remove(bob, [ids[1], ids[2], new[1]])
    actions.mark_unread(bob, [ids[0], ids[5]])
    actions.restore(bob, [ids[2]])
    actions.mark_read(bob, [ids[3]])
    actions.remove(bob, [new[2]])
    actions.restore(bob, [new[2], new[1]])
    actions.remove(bob, [ids[4], new[1]])
    actions.archive(bob, [ids[2], ids[5], new[3]])
    actions.unarchive(bob, [ids[5], ids[6]])
    actions.archive(bob, [ids[7]])
    for title in ("old 0", "old 7", "new 0", "new 3"):
        actions.solve(f"cause:{title}", order=1, by=f"{title} is done")


def wire_events() -> list[dict]:
    with scopes_disabled():
        kinds = ("notification", "inbox_update")
        return [
            event.wire(seq) for seq, event in enumerate(Event.objects.filter(type__in=kinds).order_by("id"), start=1)
        ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_an_old_inbox_given_the_events_is_the_inbox_the_server_renders_now(acme, bob):
    known = [tell(bob, f"old {n}", acme if n % 3 else None, group) for n, group in enumerate("abacbdee")]
    actions.mark_read(bob.user, [known[5].pk])
    actions.archive(bob.user, [known[6].pk])
    old = {path: bob.get(path).content.decode() for path in PATHS}
    count = len(wire_events())
    live_through_an_hour(bob, acme, known)
    events = wire_events()
    fresh = {path: bob.get(path).content.decode() for path in PATHS}

    def replay(page, events: list[dict]) -> None:
        page.evaluate(REPLAY, [json.dumps(events), str(bob.user.pk)])

    all_become_fresh([Old(path, old[path], fresh[path], orders_of(events, count)) for path in PATHS], replay, shown)


def shown(page) -> str:
    page.evaluate(PLAIN)
    bell, main = page.query_selector("#bell"), page.query_selector("main")
    return page.evaluate(NORMALISED, bell) + page.evaluate(NORMALISED, main)
