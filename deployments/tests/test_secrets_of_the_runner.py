"""Steps run as the runner's user. What the runner knows is not theirs."""

import subprocess
import sys

import pytest
from django.conf import settings

#: Says whether others of the same user may look into this process (prctl's PR_GET_DUMPABLE), before and after.
LOOK = """
import ctypes
from deployments.running import linux
may_look = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
print(may_look())
linux.keep_to_itself()
print(may_look())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")
def test_the_runner_hides_its_environment_from_others_of_its_user():
    command = [sys.executable, "-S", "-c", LOOK]
    said = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["1", "0"]
