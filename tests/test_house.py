"""What a newcomer meets first: each way of not starting says what to do, and the files agree with each other."""

import fcntl
import os
import re
import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent


def make(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """`make` in a shell that has none of this test run's own variables."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env=inherited | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def local(tmp_path) -> dict[str, str]:
    """A .local of its own, so that a `make run` at the same time is not in the way."""
    return {"LOCAL_DIR": str(tmp_path)}


def test_a_taken_port_is_named_and_another_is_offered(local):
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]
        result = make("run", f"PORT={port}", **local)
    assert result.returncode != 0
    assert f"Port {port} is taken" in result.stderr
    assert f"(process {os.getpid()})" in result.stderr
    assert "make run PORT=" in result.stderr


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("PORT=web", "PORT=web is not a port"),
        ("PORT=70000", "PORT=70000 is not a port"),
        ("ENGINE=steam", "It is one of: embedded, process, centrifugo"),
    ],
)
def test_a_setting_that_cannot_be_is_explained(local, setting, sentence):
    result = make("run", setting, **local)
    assert result.returncode != 0
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_stopping_the_engine_of_nothing_says_what_to_start(local):
    result = make("engine-stop", **local)
    assert result.returncode != 0
    assert "make run ENGINE=process" in result.stderr


def test_the_demo_is_put_back_to_its_start_and_keeps_its_secrets(local, tmp_path):
    first = make("demo-reset", **local)
    assert first.returncode == 0, first.stderr
    assert "Start it with: make run" in first.stdout
    secrets, key = (tmp_path / "env").read_text(), (tmp_path / "agent-key").read_text()
    with sqlite3.connect(tmp_path / "neostack.sqlite3") as database:
        database.execute("UPDATE tenants_tenant SET name = 'Bankrupt' WHERE slug = 'acme'")
    database.close()
    (tmp_path / "runs" / "left").mkdir(parents=True)
    assert make("demo-reset", **local).returncode == 0
    with sqlite3.connect(tmp_path / "neostack.sqlite3") as database:
        tenants = database.execute("SELECT slug, name FROM tenants_tenant ORDER BY slug").fetchall()
    database.close()
    assert tenants == [("acme", "Acme"), ("globex", "Globex")]
    assert not (tmp_path / "runs").exists()
    assert (tmp_path / "env").read_text() == secrets
    assert (tmp_path / "agent-key").read_text() != key


def test_a_demo_that_runs_or_is_kept_elsewhere_is_not_reset(local, tmp_path):
    (tmp_path / "neostack.sqlite3").write_text("precious")
    elsewhere = make("demo-reset", DATABASE_URL="postgres://me:secret@db.example/neostack", **local)
    assert elsewhere.returncode != 0
    assert "Nothing was changed: DATABASE_URL names postgres://...@db.example/neostack" in elsewhere.stderr
    with (tmp_path / "run.lock").open("w") as lock:
        lock.write("123 http://localhost:8000 embedded")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = make("demo-reset", **local)
    assert running.returncode != 0
    assert "already runs from this directory: http://localhost:8000" in running.stderr
    assert (tmp_path / "neostack.sqlite3").read_text() == "precious"


def test_an_old_python_is_told_which_one_is_needed(tmp_path):
    old = tmp_path / "bin" / "python3"
    old.parent.mkdir()
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.8.10" && exit 0\nexit 1\n')
    old.chmod(0o755)
    scripts = tmp_path / "checkout" / "scripts"
    scripts.mkdir(parents=True)
    (scripts / "setup").write_text((ROOT / "scripts" / "setup").read_text())
    for tool in ("cat", "cksum", "dirname", "rm"):
        (old.parent / tool).symlink_to(f"/usr/bin/{tool}")
    result = subprocess.run(
        ["/bin/sh", str(scripts / "setup")], env={"PATH": str(old.parent)}, capture_output=True, text=True, timeout=20
    )
    assert result.returncode != 0
    assert "needs Python 3.11 or newer; python3 here is: Python 3.8.10" in result.stderr
    assert not (tmp_path / "checkout" / ".venv").exists()


def test_compose_serves_where_make_looks():
    """There may be no Docker here, so what can be read is compared."""
    services = yaml.safe_load((ROOT / "docker-compose.services.yml").read_text())["services"]
    makefile = (ROOT / "Makefile").read_text()
    expected = {
        "postgres": re.search(r"DATABASE_URL=postgres://\w+:\w+@127\.0\.0\.1:(\d+)/", makefile),
        "redis": re.search(r"REDIS_URL=redis://127\.0\.0\.1:(\d+)/", makefile),
    }
    for name, found in expected.items():
        assert found
        assert found[1] in services[name]["command"]
        assert found[1] in services[name]["healthcheck"]["test"]
    assert all(service["network_mode"] == "host" for service in services.values())


def test_compose_runs_the_centrifugo_that_we_build_and_reads_the_file_that_we_write():
    centrifugo = yaml.safe_load((ROOT / "docker-compose.services.yml").read_text())["services"]["centrifugo"]
    pinned = re.search(r"centrifugal/centrifugo/v6 (v6\.\d+\.\d+)", (ROOT / "tools/centrifugo/go.mod").read_text())
    assert pinned
    assert centrifugo["image"] == f"centrifugo/centrifugo:{pinned[1]}"
    assert centrifugo["volumes"] == ["./.local/engine.json:/centrifugo/engine.json:ro"]
    assert centrifugo["command"][-1] == "/centrifugo/engine.json"


def test_every_target_is_explained():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    listed = set(re.findall(r"^  make ([a-z-]+)", make("help").stdout, re.MULTILINE))
    assert targets == listed


# --- The pages of documentation ---------------------------------------------------------------------------------------

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
PATH = re.compile(r"`([a-z][\w-]*(?:/[\w.*-]+)*/[\w-]+\.(?:py|js|html|yml|json))`")
FUNCTION = re.compile(r"`(\w+)(?:\(\))?` in `([\w/]+\.py)`")


def anchors(page: Path) -> set[str]:
    """What a link may name after its #, as GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_of_documentation_names_is_there(page):
    text = page.read_text()
    for target, anchor in LINK.findall(text):
        led = (page.parent / target).resolve() if target else page
        assert led.exists(), f"{target} is linked and not there"
        assert not anchor or anchor in anchors(led), f"{target} has no heading {anchor}"
    missing = [path for path in PATH.findall(text) if not (ROOT / path).exists()]
    assert missing == []
    for name, path in FUNCTION.findall(text):
        defined = re.search(rf"^(?:async )?(?:def|class) {name}\b", (ROOT / path).read_text(), re.MULTILINE)
        assert defined, f"{path} defines no {name}"


def test_every_page_of_documentation_is_found_from_the_readme():
    linked = {target for target, _ in LINK.findall((ROOT / "README.md").read_text())}
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= linked
