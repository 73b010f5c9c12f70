"""A Redis with TLS: one whose certificate the named authority has not signed is refused by everything that calls it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from neostack.processes import BASE_DIR, CENTRIFUGO
from realtime import engine_config
from tests import services
from tests.faults.servers import ANSWERS_WITHIN_SECONDS
from tests.services import free_port
from tests.whole.platform import wait_until
from tests.whole.proxy import write_certificate

pytestmark = pytest.mark.once

#: Each ends well if it could work with Redis.
CALLERS = {
    "broker": "from neostack.celery import app; app.connection().ensure_connection(max_retries=1)",
    "generations": "from uuid import uuid4; from events import generations; generations.read(uuid4())",
    "health": "from portal.ops import health; assert health._redis().is_well",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Its address and its certificate, which signed itself."""
    home = tmp_path_factory.mktemp("redis-tls")
    write_certificate(home)
    port = free_port()
    try:
        command = services.redis_command(home, 0)
    except services.NotHere as reason:
        pytest.skip(str(reason))
    files = ["--tls-cert-file", "certificate.pem", "--tls-key-file", "key.pem", "--tls-auth-clients", "no"]
    process = subprocess.Popen([*command, "--tls-port", str(port), *files], cwd=home, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: services._accepts(port), "Redis answers", ANSWERS_WITHIN_SECONDS)
        yield f"rediss://localhost:{port}", home / "certificate.pem"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of somebody else, who calls himself localhost too."""
    home = tmp_path_factory.mktemp("another")
    write_certificate(home)
    return home / "certificate.pem"


def ended_well(caller: str, url: str, authority: Path | str) -> bool:
    environ = os.environ | {"DEBUG": "1", "REDIS_URL": url, "CELERY_BROKER_URL": url, "REDIS_CA_FILE": str(authority)}
    code = f"import django; django.setup(); {CALLERS[caller]}"
    environ["DJANGO_SETTINGS_MODULE"] = "neostack.settings"
    return subprocess.run([sys.executable, "-c", code], cwd=BASE_DIR, env=environ, capture_output=True).returncode == 0


@pytest.mark.parametrize("caller", CALLERS)
def test_only_a_certificate_of_the_named_authority_is_taken_by_the(caller, server, another):
    url, authority = server
    assert ended_well(caller, url, authority)
    assert not ended_well(caller, url, another)
    assert not ended_well(caller, url, ""), "this machine's own authorities have not signed it"


@pytest.mark.skipif(not services.has_centrifugo(), reason="Centrifugo is not built (make centrifugo)")
@pytest.mark.parametrize("is_right", [True, False], ids=["right", "wrong"])
def test_centrifugo_looks_at_the_certificate_too(server, another, is_right, settings, tmp_path):
    url, authority = server
    port = free_port()
    settings.ENGINE_API_URL, settings.ENGINE_PORT = f"http://127.0.0.1:{port}/engine/api", 0
    settings.ENGINE_REDIS_URL, settings.ENGINE_REDIS_CA_FILE = [url], str(authority if is_right else another)
    (tmp_path / "engine.json").write_text(json.dumps(engine_config.build()))
    command = [str(CENTRIFUGO), "-c", str(tmp_path / "engine.json")]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: services._accepts(port) or process.poll() is not None, "it works or ends", 60)
        assert (process.poll() is None) == is_right
        assert ("certificate signed by unknown authority" in (tmp_path / "log").read_text()) != is_right
    finally:
        process.kill()
        process.wait()
