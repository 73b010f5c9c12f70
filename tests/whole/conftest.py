"""The platform once a session, one tenant a test, and browser windows that let nothing pass unseen."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.services import chromium, has_centrifugo
from tests.whole.people import Company, Person, found_company
from tests.whole.platform import Platform
from tests.whole.subscriber import Subscriber
from tests.whole.topology import Topology

HERE = Path(__file__).parent
CHROMIUM_FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]
#: What Chromium itself says while a server is away on purpose. Our scripts say nothing.
NETWORK_WORDS = re.compile(r"^(Failed to load resource|WebSocket connection to)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("whole")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failure comes with the last lines of every process."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    running = getattr(item, "funcargs", {}).get("platform")
    if report.failed and running:
        report.sections.append(("The platform's logs", running.last_words()))


@pytest.fixture(scope="session")
def running_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    engine = os.environ.get("NEO_ENGINE", "process")
    if engine == "centrifugo" and not has_centrifugo():
        pytest.skip("Centrifugo is not built (make centrifugo)")
    home = tmp_path_factory.mktemp("platform")
    platform = Topology(home) if "NEO_TOPOLOGY" in os.environ else Platform(home, engine)
    try:
        yield platform.open()
    finally:
        platform.close()


@pytest.fixture
def platform(running_platform: Platform) -> Iterator[Platform]:
    """The running platform, whole again after each test, whatever the test killed."""
    yield running_platform
    if running_platform.clock_offset.exists():  # a clock that went back would be a fault of its own
        running_platform.kill("engine")
        running_platform.clock_offset.unlink()
    running_platform.ensure_all()


@pytest.fixture
def found(platform: Platform) -> Callable[[str], Company]:
    """Founds a company of this name that no other test knows."""

    def make(name: str) -> Company:
        return found_company(platform, name, f"{name.lower()}-{uuid4().hex[:8]}")

    return make


@pytest.fixture
def acme(found: Callable[[str], Company]) -> Company:
    return found("Acme")


@pytest.fixture
def globex(found: Callable[[str], Company]) -> Company:
    return found("Globex")


@pytest.fixture
def alice(acme: Company) -> Person:
    return acme.hire("Alice", "tenant_admin")


@pytest.fixture
def bob(acme: Company) -> Person:
    return acme.hire("Bob", "tenant_user")


@pytest.fixture
def charlie(globex: Company) -> Person:
    return globex.hire("Charlie", "tenant_admin")


@pytest.fixture
def subscribe(platform: Platform) -> Iterator[Callable[..., Subscriber]]:
    """Opens raw clients, `subscribe(alice, acme, [channel])`, and closes them after the test."""
    opened: list[Subscriber] = []

    def open_one(person: Person, company: Company, channels: list[str], url: str = "") -> Subscriber:
        def state(channel: str) -> list[str]:
            return platform.inside.logged(channel=channel)

        opened.append(Subscriber(person, channels, tenant=company.slug, fresh_state=state, url=url))
        return opened[-1].wait_subscribed()

    yield open_one
    for subscriber in opened:
        subscriber.close()


# --- Browser windows --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for one module: its event loop must not outlive it into the asynchronous tests of others."""
    if not (path := chromium()):
        pytest.skip("Chromium is not installed")
    flags = [*CHROMIUM_FLAGS, *([] if os.getuid() else ["--no-sandbox"])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


class Window:
    """A browser window that somebody signed in with. It remembers everything that should not have been said."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context, self.url = context, url
        self.page: Page = context.new_page()
        self.problems: list[str] = []
        self.expects_outage = False
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))

    def open(self, path: str) -> Page:
        self.page.goto(self.url + path)
        return self.page

    def _said(self, message: ConsoleMessage) -> None:
        if not (self.expects_outage and NETWORK_WORDS.match(message.text)):
            self.problems.append(f"console.{message.type}: {message.text} ({message.location.get('url', '')})")


@pytest.fixture
def window(browser: Browser, platform: Platform) -> Iterator[Callable[..., Window]]:
    """Opens windows: `window(alice)`, `window(alice, java_script_enabled=False)`. Each must have stayed silent."""
    opened: list[Window] = []

    def open_one(person: Person | None = None, **options: Any) -> Window:
        context = browser.new_context(base_url=platform.url, ignore_https_errors=True, **options)
        if person:
            context.add_cookies(person.cookies)  # type: ignore[arg-type]
        opened.append(Window(context, platform.url))
        return opened[-1]

    yield open_one
    for one in opened:
        one.context.close()
    problems = [problem for one in opened for problem in one.problems]
    assert not problems, "The browser complained:\n" + "\n".join(problems)
