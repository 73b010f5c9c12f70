"""What production runs: every service, how it is started, what it is told, and which addresses lead to it.

docker-compose.yml, deploy/kubernetes and the tests' topology of plain processes (tests/whole/topology.py) all say this,
each in its own words; tests/test_deployment_files.py compares them with this table.
"""

from pathlib import Path

from neostack import processes

#: Where containers listen. Centrifugo's API and metrics stand at a port of their own, which no proxy leads to.
WEB_PORT = 8000
ENGINE_PORT = 8001
GATE_PORT = 8002
ENGINE_INTERNAL_PORT = 9001
#: Where a process without web pages shows its metrics.
METRICS_PORT = 9100
#: The only directory, beside /tmp, that a container may write in.
LOCAL_DIR = Path("/var/lib/neostack")
ENGINE_CONFIG = Path("/etc/centrifugo/engine.json")

#: How many of each run at least. Of two relays one works and one stands by; a second beat would wake everybody twice.
COPIES = {"web": 2, "gate": 2, "relay": 2, "worker": 1, "beat": 1, "runner": 1, "pulse": 1, "centrifugo": 2}

#: What the proxy leads from outside to which service, the longest prefix first.
ROUTES = {"/connection/": "centrifugo", "/": "web"}
#: Of those, what is answered inside only: the gate, which the engine asks, and what Prometheus reads.
INSIDE_ONLY = ("/api/realtime/connect", "/metrics")
#: Bodies longer than this end at the proxy; Django itself refuses from 2.5 MB on, with an explanation.
BODY_LIMIT_BYTES = 3_000_000

#: Handed out as files: NAME_FILE in the environment. The file has the name in small letters.
SECRET_FILES = (
    *processes.SECRETS,
    "DATABASE_URL",
    "REDIS_URL",
    "ENGINE_REDIS_URL",
    "METRICS_KEY",
    "EMAIL_HOST_PASSWORD",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
)


def commands() -> dict[str, list[str]]:
    """What the containers of our own image run, by service."""
    host, python = "0.0.0.0", "python"  # noqa: S104
    return {
        **processes.commands(engine="", host=host, port=WEB_PORT, local_dir=LOCAL_DIR, python=python),
        "gate": processes.gate(host=host, port=GATE_PORT, python=python),
    }


def migrate(engine_config: Path = ENGINE_CONFIG) -> list[str]:
    """The job that runs before each new version."""
    return ["python", "manage.py", "prepare", f"--engine-config={engine_config}"]


def environment(
    *,
    site_url: str,
    keys: str = f"http://web:{WEB_PORT}",
    gate: str = f"http://gate:{GATE_PORT}",
    engine: str = f"http://centrifugo:{ENGINE_INTERNAL_PORT}",
    proxies: str,
    local_dir: Path = LOCAL_DIR,
) -> dict[str, str]:
    """What every process of ours is told, beside its secrets.

    `keys` (web's), `gate` and `engine` are where the parts find each other, past the proxy. `proxies` are the addresses
    or networks whose X-Forwarded-For and X-Forwarded-Proto are believed.
    """
    return {
        "ENGINE": "centrifugo",
        "SITE_URL": site_url,
        "ALLOWED_HOSTS": site_url.split("://")[1].split(":")[0],
        "ALLOWED_ORIGINS": site_url,
        "CSRF_TRUSTED_ORIGINS": site_url,
        "ENGINE_API_URL": f"{engine}/engine/api",
        "ENGINE_PORT": str(ENGINE_PORT),
        "ENGINE_CLIENT_URL": "/connection/websocket",
        "GATE_URL": f"{gate}/api/realtime/connect",
        "JWKS_URL": f"{keys}/.well-known/jwks.json",
        "METRICS_PORT": str(METRICS_PORT),
        "FORWARDED_ALLOW_IPS": proxies,
        "LOCAL_DIR": str(local_dir),
    }
