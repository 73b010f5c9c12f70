"""The walk-through in docs/: its programs run as they stand there, and print what stands below them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tenants.models import Scope
from tests.whole.people import Company, Person
from tests.whole.platform import Platform, wait_until

pytestmark = pytest.mark.once  # what a service is answered does not depend on the engine

PAGE = Path(__file__).resolve().parents[2] / "docs" / "walkthrough.md"
PATIENCE_SECONDS = 120


def block(language: str) -> str:
    """The page's one block of this language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def surroundings(platform: Platform, acme: Company, alice: Person) -> dict[str, str]:
    """What the page lets its reader export: Alice's key with every scope, and a stack that completes."""
    headers = {"X-Tenant": acme.slug}
    # A tenant gets its plan from the worker, a moment after it is founded; until then usage is refused.
    wait_until(lambda: alice.get("/api/billing/subscription", headers=headers).is_success, "Acme has its plan", 60)
    slug = f"walk-{acme.slug}"
    steps = [{"name": "Greet", "command": [sys.executable, "-c", "print('hello')"]}]
    platform.inside.make_stack(slug=slug, name=slug, steps=steps)
    key = platform.inside.make_api_key(tenant=acme.id, scopes=list(Scope.values))
    return {"PATH": os.environ["PATH"], "NEO_URL": platform.url, "NEO_KEY": key, "NEO_STACK": slug}


@pytest.mark.parametrize(("language", "program"), [("python", [sys.executable, "-"]), ("sh", ["sh", "-s"])])
def test_a_service_that_does_as_the_page_says_is_answered_as_the_page_says(
    surroundings, alice, acme, language, program
):
    if language == "sh" and not (shutil.which("curl") and shutil.which("jq")):
        pytest.skip("curl and jq are not installed")
    done = subprocess.run(
        program,
        input=block(language),
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.stdout, done.stderr) == (block("text"), "")
    alerts = alice.get("/api/monitoring/alerts", headers={"X-Tenant": acme.slug}).json()["results"]
    assert [(alert["metadata"]["name"], alert["state"]) for alert in alerts] == [("Backup failed", "resolved")]
