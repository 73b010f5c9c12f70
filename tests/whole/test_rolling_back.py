"""Rolling back and waiting in the queue, as an open browser shows them."""

import re
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.whole.accessibility import violations
from tests.whole.conftest import Window
from tests.whole.people import Company

pytestmark = pytest.mark.browser

PATIENCE = 30_000  # milliseconds


@pytest.fixture
def gate(tmp_path) -> Path:
    """While this file is not there, the gated stack's step waits for it."""
    return tmp_path / "gate"


@pytest.fixture
def stack(platform, acme: Company, gate: Path) -> str:
    """The slug of an approved stack whose one step ends when the gate is open."""
    slug = f"gated-{acme.slug}"
    code = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.05)\nprint('through')"
    platform.inside.make_stack(slug=slug, name=slug, steps=[{"name": "wait", "command": [sys.executable, "-c", code]}])
    return slug


def is_live(page) -> None:
    expect(page.get_by_test_id("live-mark")).to_have_text("Live", timeout=PATIENCE)


def test_a_place_in_the_queue_follows_whoever_leaves_it(window, platform, acme, alice, stack, gate):
    made = [platform.inside.deploy(tenant=acme.id, by=alice.id, stack=stack) for _ in range(3)]
    last = f"{acme.path}deployments/{made[2]['number']}/"
    page, other = window(alice).open(last), window(alice).open(f"{acme.path}deployments/{made[1]['number']}/")
    is_live(page)
    expect(page.get_by_test_id("progress")).to_have_text("2nd in the queue", timeout=PATIENCE)
    other.get_by_role("button", name="Cancel").click()
    expect(other.get_by_text("Alice asked to cancel it")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_test_id("progress")).to_have_text("1st in the queue", timeout=PATIENCE)
    gate.touch()
    expect(page.locator("#deployment").get_by_test_id("status")).to_have_text("Completed", timeout=PATIENCE)
    expect(page.get_by_role("button", name="Roll back to this")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_alice_rolls_back_from_a_list_that_has_grown_under_her(
    window, platform, acme, alice, stack, gate, theme, width
):
    gate.touch()
    seen: Window = window(alice, color_scheme=theme, viewport={"width": width, "height": 900})
    first = platform.inside.deploy(tenant=acme.id, by=alice.id, stack=stack)
    page = seen.open(f"{acme.path}deployments/stacks/{stack}/")
    is_live(page)
    if not page.get_by_test_id("release-row").count():  # rendered before it had ended
        expect(page.get_by_test_id("pending")).to_contain_text("1 new", timeout=PATIENCE)
        page.get_by_role("link", name="Show").click()
    row = page.get_by_test_id("release-row")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("version 1")
    found = {"releases": violations(page)}

    seen.expects_outage = True
    seen.context.set_offline(True)
    expect(row.get_by_role("button")).to_have_attribute("aria-disabled", "true", timeout=PATIENCE)
    expect(page.locator("#release-locks")).to_contain_text("Refresh to continue")
    found["releases, offline"] = violations(page)
    seen.context.set_offline(False)
    is_live(page)
    expect(page.locator("#release-locks")).to_be_empty()

    page.get_by_role(
        "button", name=re.compile(r"Roll back to .* runs release \w{12} of .* version 1 again as it was")
    ).click()
    expect(page.get_by_text("Rolls back to")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#deployment").get_by_test_id("status")).to_have_text("Completed", timeout=PATIENCE)
    expect(page.get_by_test_id("rollback-says")).to_be_visible()
    found["rolled back"] = violations(page)
    page = seen.open(f"{acme.path}deployments/{first['number']}/")
    expect(page.get_by_text("Rolled back to it as")).to_be_visible()
    assert not {state: problems for state, problems in found.items() if problems}
