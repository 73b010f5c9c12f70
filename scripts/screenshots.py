"""The pictures in docs/images, taken from the running product with its demo: python -m scripts.screenshots"""

import math
import random
import re
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, expect, sync_playwright

from neostack import processes
from neostack.processes import BASE_DIR
from tests.services import chromium
from tests.whole.platform import Platform, wait_until

IMAGES = BASE_DIR / "docs" / "images"
SIZE = {"width": 1280, "height": 800}
PASSWORD = "demo-neostack"
PATIENCE = 60_000  # milliseconds
SAMPLES_AT_ONCE = 100


# --- The hands of those who use it ------------------------------------------------------------------------------------


def sign_in(browser: Browser, platform: Platform, email: str, theme: str = "light") -> Page:
    page = browser.new_context(base_url=platform.url, viewport=SIZE, color_scheme=theme).new_page()  # type: ignore[arg-type]
    page.goto("/accounts/login/")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile(r"/(t|ops)/"))
    return page


def deploy(page: Page, stack: str, **values: str) -> str:
    """Press Deploy for the demo's stack of this name. Returns the address of the new deployment."""
    page.goto("/t/acme/deployments/new/")
    page.get_by_role("link", name=stack).click()
    for label, value in values.items():
        page.get_by_label(label).fill(value)
    page.get_by_role("button", name="Deploy").click()
    page.wait_for_url(re.compile(r"/deployments/\d+/$"))
    return page.url


def wait_for(page: Page, status: str) -> None:
    expect(page.locator("#deployment").get_by_test_id("status")).to_have_text(status, timeout=PATIENCE)


def live(page: Page, path: str) -> None:
    page.goto(path)
    expect(page.get_by_test_id("live-mark")).to_have_text("Live", timeout=PATIENCE)


def take(page: Page, name: str, path: str | None = None) -> None:
    """A picture of the page as it is; where an address is given, of what is there once it is live."""
    if path:
        live(page, path)
    page.screenshot(path=IMAGES / f"{name}.png")


# --- What they find ---------------------------------------------------------------------------------------------------


#: What an agent sends: name, unit, middle, how far it swings.
FIGURES = (
    ("cpu_percent", "%", 38, 18),
    ("memory_percent", "%", 52, 3),
    ("disk_percent", "%", 31, 0.2),
    ("network_in_bytes_per_second", "B/s", 160_000, 60_000),
    ("network_out_bytes_per_second", "B/s", 90_000, 30_000),
    ("load_1m", "", 1.2, 0.5),
)


def send_an_hour(platform: Platform) -> None:
    """Samples of an hour, made up: a platform that is a minute old has no history, and this machine is busy with it."""
    key = processes.agent_key(platform.home).read_text().strip()
    chance = random.Random(4)  # the same hour in every picture
    now = datetime.now(UTC)
    samples = [
        {
            "name": name,
            "value": round(middle + swing * (math.sin(minute / 7) + chance.uniform(-0.3, 0.3)), 2),
            "unit": unit,
            "at": (now - timedelta(minutes=minute)).isoformat(),
        }
        for minute in range(60, -1, -1)
        if not 34 < minute < 39  # a gap, which stays one
        for name, unit, middle, swing in FIGURES
    ]
    for first in range(0, len(samples), SAMPLES_AT_ONCE):
        answer = httpx.post(
            f"{platform.url}/api/monitoring/metrics",
            json={"samples": samples[first : first + SAMPLES_AT_ONCE]},
            headers={"Authorization": f"Api-Key {key}"},
            timeout=20,
        )
        answer.raise_for_status()


def take_all(platform: Platform, browser: Browser) -> None:
    alice = sign_in(browser, platform, "alice@acme.example")
    at_night = sign_in(browser, platform, "alice@acme.example", "dark")
    ada = sign_in(browser, platform, "admin@neostack.example")
    charlie = sign_in(browser, platform, "charlie@globex.example")
    charlie.goto("/t/globex/deployments/new/?stack=web")
    charlie.get_by_role("button", name="Deploy").click()
    deploy(alice, "Breaks half-way")
    wait_for(alice, "Failed")
    send_an_hour(platform)
    address = deploy(alice, "Static site", Pages="40")
    live(at_night, address)
    expect(alice.get_by_test_id("step").nth(1)).to_have_attribute("data-status", "running", timeout=PATIENCE)
    take(alice, "deployment")
    take(at_night, "deployment-dark")
    take(at_night, "home-dark", "/t/acme/")
    take(alice, "home", "/t/acme/")
    take(ada, "operations", "/ops/")
    alice.goto(address)
    wait_for(alice, "Completed")
    wait_until(lambda: not platform.inside.behind(), "everything is handled", seconds=60, every=0.2)
    take(alice, "notifications", "/notifications/")
    take(alice, "activity", "/t/acme/activity/")
    live(ada, "/ops/events/")
    ada.get_by_role("link", name=re.compile("completed")).first.click()
    live(ada, ada.url)
    take(ada, "event")


def main() -> int:
    if not (path := chromium()):
        print("Chromium is needed to take pictures (apt install chromium). Nothing was changed.", file=sys.stderr)
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        platform = Platform(Path(home))
        try:
            platform.open().manage("demo")
            take_all(platform, playwright.chromium.launch(executable_path=path, args=["--no-sandbox"]))
        finally:
            platform.close()
    print(f"Taken: {', '.join(sorted(image.name for image in IMAGES.glob('*.png')))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
