"""The pictures in docs/images, taken from the running product with its demo: python -m scripts.screenshots"""

import re
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from neostack.processes import BASE_DIR
from tests.services import chromium
from tests.whole.platform import Platform

IMAGES = BASE_DIR / "docs" / "images"
SIZE = {"width": 1280, "height": 800}
PASSWORD = "demo-neostack"


def sign_in(browser: Browser, platform: Platform, email: str, theme: str) -> Page:
    page = browser.new_context(base_url=platform.url, viewport=SIZE, color_scheme=theme).new_page()  # type: ignore[arg-type]
    page.goto("/accounts/login/")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    return page


def deploy(page: Page, stack: str) -> str:
    """Press Deploy for the demo's stack of this name. Returns the address of the new deployment."""
    page.goto("/t/acme/deployments/new/")
    page.get_by_role("link", name=stack).click()
    page.get_by_role("button", name="Deploy").click()
    page.wait_for_url(re.compile(r"/deployments/\d+/$"))
    return page.url


def wait_for(page: Page, status: str) -> None:
    expect(page.locator("#deployment").get_by_test_id("status")).to_have_text(status, timeout=60_000)


def take(platform: Platform, browser: Browser) -> None:
    alice = sign_in(browser, platform, "alice@acme.example", "light")
    at_night = sign_in(browser, platform, "alice@acme.example", "dark")
    deploy(alice, "Breaks half-way")
    wait_for(alice, "Failed")
    deploy(alice, "Ten thousand colours")
    wait_for(alice, "Completed")
    address = deploy(alice, "Static site")
    at_night.goto(address)
    expect(alice.get_by_test_id("step").nth(2)).to_have_attribute("data-status", "running", timeout=60_000)
    alice.screenshot(path=IMAGES / "deployment.png")
    at_night.screenshot(path=IMAGES / "deployment-dark.png")


def main() -> int:
    if not (path := chromium()):
        print("Chromium is needed to take pictures (apt install chromium). Nothing was changed.", file=sys.stderr)
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        platform = Platform(Path(home))
        try:
            platform.open().manage("demo")
            take(platform, playwright.chromium.launch(executable_path=path, args=["--no-sandbox"]))
        finally:
            platform.close()
    print(f"Taken: {', '.join(sorted(image.name for image in IMAGES.glob('*.png')))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
