"""The pages' own modules have tests in their own language; here they are part of the suite."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent


def test_the_modules_of_pages_pass_their_own_tests():
    if not (node := shutil.which("node")):
        pytest.skip("Node is not installed")
    files = sorted(str(path) for path in (ROOT / "static/js/tests").glob("*.test.js"))
    assert files
    result = subprocess.run([node, "--test", *files], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
