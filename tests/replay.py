"""Old state + events = fresh state: an old page, given events in a real browser, shows what the server renders now."""

import difflib
import mimetypes
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from playwright.sync_api import Page, sync_playwright

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


class Site(ThreadingHTTPServer):
    """Answers with `pages`, by path, and with our static files, which the browser may keep. Whatever else is asked
    for gets no answer at all."""

    daemon_threads = True

    def __init__(self, pages: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.pages = pages


class Answer(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path in self.server.pages:
            self._send("text/html; charset=utf-8", self.server.pages[path].encode(), keep="no-store")
        elif path.endswith("/js/page.js"):
            self._send("text/javascript", b"")  # nothing starts by itself
        elif path.startswith("/static/"):
            file = ROOT / path.lstrip("/")
            self._send(mimetypes.guess_type(file.name)[0] or "text/plain", file.read_bytes())

    def _send(self, content_type: str, body: bytes, keep: str = "max-age=3600") -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", keep)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


@contextmanager
def browser_page(pages: dict[str, str]) -> Iterator[Page]:
    """A page whose addresses under SITE are these, as `pages` is when they are asked for; our static files too."""
    site = Site(pages)
    Thread(target=site.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    host = SITE.partition("//")[2]
    flags = ["--no-sandbox", f"--host-resolver-rules=MAP {host} 127.0.0.1:{site.server_port}"]
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
            yield browser.new_page()
            browser.close()
    finally:
        site.shutdown()
        site.server_close()


def shown(page: Page) -> str:
    """What the page shows in its main part, in an order and a wording that two renders of the same state share."""
    return str(page.evaluate(NORMALISED, page.query_selector("main")))


class Old(NamedTuple):
    """A page as somebody has it open, as the server renders it now, and in which orders the events since come."""

    path: str  # may have a query
    page: str
    fresh: str
    orders: list[list[Wire]]


def all_become_fresh(
    olds: Iterable[Old], play: Callable[[Page, list[Wire]], None], shown: Callable[[Page], str] = shown
) -> None:
    """`play` gives each old page the events, in each of its orders; each time it must show what the fresh one does.

    `olds` is read before there is a browser: while there is one, nobody asks the database.
    """
    pages: dict[str, str] = {}
    olds = list(olds)
    with browser_page(pages) as page:
        for path, old, fresh, orders in olds:
            pages |= {path.partition("?")[0]: old, "/fresh/": fresh}
            page.goto(f"{SITE}/fresh/")
            play(page, [])
            expected = shown(page)
            for events in orders:
                page.goto(SITE + path)
                play(page, events)
                assert not (lines := differences(shown(page), expected)), f"{path}\n{lines}"


def becomes_fresh(
    path: str,
    old: str,
    fresh: str,
    orders: list[list[Wire]],
    play: Callable[[Page, list[Wire]], None],
    shown: Callable[[Page], str] = shown,
) -> None:
    """The same for one page."""
    all_become_fresh([Old(path, old, fresh, orders)], play, shown)


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
