"""The processes the product is made of: how each is started, and what all of them are told through the environment.

`make run` and the tests of the whole both start them from here, so that what is tested is what runs.
"""

import ctypes
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent.parent
LOCAL_DIR = Path(os.environ.get("LOCAL_DIR") or BASE_DIR / ".local").resolve()
CENTRIFUGO = BASE_DIR / ".local" / "bin" / "centrifugo"
ENGINES = ("embedded", "process", "centrifugo")
SECRETS = (
    "SECRET_KEY",
    "ENGINE_API_KEY",
    "GATE_KEY",
    "CONNECTION_TOKEN_SECRET",
    "SIGNING_KEY_SECRET",
    "PARAMETER_SECRET",
)
#: Centrifugo, a Go program, collects its garbage sooner: a quarter less memory for each connection.
GO = {"GOGC": "50"}
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def commands(
    *, engine: str, host: str, port: int, local_dir: Path, demo: bool = False, python: str = sys.executable
) -> dict[str, list[str]]:
    """The command line of every process, by name, in the order to start them.

    `local_dir` holds the engine's configuration and the schedule's state; for the demo also its agent's key.
    """
    celery = [python, "-m", "celery", "--app", "neostack", "--quiet"]
    found = {
        "web": [
            *_uvicorn("neostack.asgi:application", host, port, python),
            # For the engine mounted in it: compressing each frame for each browser costs more than it saves.
            *("--ws-per-message-deflate", "false", "--ws-max-size", "65536"),
        ],
        "relay": [python, "manage.py", "relay"],
        "pulse": [python, "manage.py", "pulse"],
        "runner": [python, "manage.py", "runner"],
        # Threads: tasks here are short wake-ups, and one process is one thing to stop.
        "worker": [
            *(*celery, "worker", "--pool", "threads", "--concurrency", "2", "--loglevel", "WARNING"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ],
        "beat": [
            *(*celery, "beat", "--loglevel", "WARNING"),
            *("--schedule", str(local_dir / "celerybeat-schedule"), "--pidfile", ""),
        ],
    }
    if demo:  # `manage.py agent`, without Django: it needs a fifth of the memory
        found["agent"] = [
            *(python, "-m", "monitoring.agent", "--url", f"http://127.0.0.1:{port}", "--every", "2"),
            *("--key-file", str(agent_key(local_dir))),
        ]
    config = str(engine_config(local_dir))
    match engine:
        case "process":
            return {"engine": [python, "-m", "engine", "-c", config], **found}
        case "centrifugo":
            return {"engine": [str(CENTRIFUGO), "-c", config], **found}
        case _:
            return found


def gate(*, host: str, port: int, python: str = sys.executable) -> list[str]:
    """The command line of a gate of its own, as production has it; elsewhere the one within web does."""
    return [*_uvicorn("neostack.gate_asgi:application", host, port, python), "--ws", "none"]


def _uvicorn(application: str, host: str, port: int, python: str) -> list[str]:
    return [
        *(python, "-m", "uvicorn", application, "--host", host, "--port", str(port)),
        *("--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "3"),
    ]


def engine_config(local_dir: Path) -> Path:
    return local_dir / "engine.json"


def agent_key(local_dir: Path) -> Path:
    """Where the key of the demo's agent is kept."""
    return local_dir / "agent-key"


def environment(*, engine: str, port: int, engine_port: int | None) -> dict[str, str]:
    """Where each part finds the others, as settings read it. `engine_port` is None when the engine is embedded."""
    origins = f"http://localhost:{port},http://127.0.0.1:{port}"
    found = {
        "ENGINE": engine,
        "PORT": str(port),
        "SITE_URL": f"http://localhost:{port}",
        "ALLOWED_ORIGINS": origins,
        "CSRF_TRUSTED_ORIGINS": origins,
        **GO,
    }
    if engine_port is not None:
        found["ENGINE_API_URL"] = f"http://127.0.0.1:{engine_port}/engine/api"
        found["ENGINE_CLIENT_URL"] = f"ws://localhost:{engine_port}/connection/websocket"
    return found


def new_secrets() -> dict[str, str]:
    return {name: secrets.token_urlsafe(48) for name in SECRETS}


def read_env_file(path: Path) -> dict[str, str]:
    """NAME=value lines; empty ones and comments are passed over."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def end_with_parent(sign: int = signal.SIGTERM) -> None:
    """Ask Linux to send this process `sign` when its parent dies, however it dies. Elsewhere nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, sign, 0, 0, 0)


def child_options(environ: Mapping[str, str]) -> dict[str, Any]:
    """How a process is started: from the checkout, with exactly this environment, without a terminal's signals.

    Its own session keeps a terminal's Ctrl-C from it: who started it ends it, in order.
    """
    parent = os.getpid()

    def in_child() -> None:
        end_with_parent()
        if os.getppid() != parent:  # it died before prctl was called
            os._exit(1)

    return {
        "cwd": BASE_DIR,
        "env": dict(environ) | {"PYTHONUNBUFFERED": "1"},
        "stdin": subprocess.DEVNULL,
        "start_new_session": True,
        "preexec_fn": in_child,
    }
