"""Make the secrets that production needs, as files: for docker-compose.yml, or for Kubernetes' secret generator.

    python3 -m scripts.make_secrets [directory]      deploy/secrets if nothing else is said

What is there already is kept, so that a newer version adds only what it needs. Needs nothing but Python.
"""

import secrets
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RANDOM_BYTES = 48
CLUSTER_NODES = 6
#: Each of them made for itself. What an address needs has nothing in it that an address would have to quote.
RANDOM = (
    "secret_key",
    "engine_api_key",
    "gate_key",
    "connection_token_secret",
    "signing_key_secret",
    "parameter_secret",
    "metrics_key",
    "postgres_password",
    "redis_password",
    "grafana_password",
)


def addresses(of: Callable[[str], str]) -> dict[str, str]:
    """What is made of the others; `of` reads one of those."""
    return {
        "database_url": f"postgres://neostack:{of('postgres_password')}@postgres:5432/neostack",
        "redis_url": f"redis://:{of('redis_password')}@redis:6379/0",
        "engine_redis_url": f"redis://:{of('redis_password')}@redis:6379",
        # Only for a Redis cluster of one's own (deploy/kubernetes/redis-cluster).
        "engine_redis_cluster": ",".join(
            f"redis://:{of('redis_password')}@redis-cluster-{node}.redis-cluster:6379" for node in range(CLUSTER_NODES)
        ),
        "email_host_password": "",
        "stripe_secret_key": "",
        "stripe_webhook_secret": "",
        # Nobody is there: write the address that calls somebody.
        "alerts_url": "http://127.0.0.1:9/",
    }


def make(directory: Path) -> list[str]:
    """The names of those that were not there."""
    directory.mkdir(parents=True, exist_ok=True)
    # Nobody else gets into the directory. The files are open, because a container reads them as somebody else.
    directory.chmod(0o700)
    made = [name for name in RANDOM if _write(directory / name, secrets.token_urlsafe(RANDOM_BYTES))]
    dependent = addresses(lambda name: (directory / name).read_text().strip())
    return made + [name for name, value in dependent.items() if _write(directory / name, value)]


def _write(path: Path, value: str) -> bool:
    if path.exists():
        return False
    path.write_text(value)
    path.chmod(0o644)
    return True


def main(arguments: list[str]) -> None:
    directory = Path(arguments[0]) if arguments else ROOT / "deploy" / "secrets"
    made = make(directory)
    print(f"In {directory}: {', '.join(made) or 'nothing new; all of them were there'}.")
    print(
        "Keep a copy where you keep passwords: a backup is not whole without parameter_secret and signing_key_secret."
    )


if __name__ == "__main__":
    main(sys.argv[1:])
