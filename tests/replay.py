"""Old state + events = fresh state: an old page, given events in a real browser, shows what the server renders now."""

import difflib
import mimetypes
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Route, sync_playwright

Wire = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
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


def shown(page: Page) -> str:
    """What the page shows in its main part, in an order and a wording that two renders of the same state share."""
    return str(page.evaluate(NORMALISED, page.query_selector("main")))


def becomes_fresh(
    path: str,
    old: str,
    fresh: str,
    orders: list[list[Wire]],
    play: Callable[[Page, list[Wire]], None],
    shown: Callable[[Page], str] = shown,
) -> None:
    """`play` gives the old page of `path` the events, in each of these orders; each time it must show what the fresh
    one does. `path` may have a query."""
    with browser_page({path.partition("?")[0]: old, "/fresh/": fresh}) as page:
        page.goto(f"{SITE}/fresh/")
        play(page, [])
        expected = shown(page)
        for events in orders:
            page.goto(SITE + path)
            play(page, events)
            assert not (lines := differences(shown(page), expected)), f"{path}\n{lines}"


def differences(now: str, fresh: str) -> str:
    lines = difflib.unified_diff(now.splitlines(), fresh.splitlines(), "replayed", "fresh", lineterm="", n=0)
    return "\n".join(lines)


def shuffled(events: list[Wire], seed: int) -> list[Wire]:
    found = [*events, *events[::3]]
    random.Random(seed).shuffle(found)
    return found


def orders_of(events: list[Wire], known: int = 0, shuffles: int = 3) -> list[list[Wire]]:
    """As they came since `known` of them; all of them twice; and shuffled, some of them twice."""
    return [events[known:], [*events, *events], *(shuffled(events, seed) for seed in range(shuffles))]
