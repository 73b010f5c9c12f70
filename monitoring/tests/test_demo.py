"""With the demo comes its agent's key: in one file that only the owner may read, and nowhere else."""

import stat

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from django_scopes import scopes_disabled

from tenants.models import ApiKey

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def key_file(settings, tmp_path):
    settings.DEBUG = True
    settings.AGENT_KEY_FILE = tmp_path / "agent-key"
    return settings.AGENT_KEY_FILE


def keys() -> list[tuple[str, list[str], bool]]:
    with scopes_disabled():
        return [(key.tenant.slug, key.scopes, key.revoked) for key in ApiKey.objects.order_by("created")]


def post(secret: str) -> int:
    sample = {"name": "load_1m", "value": 1, "at": timezone.now().isoformat()}
    return (
        Client()
        .post(
            "/api/monitoring/metrics",
            {"samples": [sample]},
            content_type="application/json",
            headers={"Authorization": f"Api-Key {secret}"},
        )
        .status_code
    )


def test_the_demos_agent_can_send_and_nobody_else_can_read_its_key(key_file, capsys):
    call_command("demo")
    secret = key_file.read_text().strip()
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert post(secret) == 200
    assert keys() == [("acme", ["metrics:write"], False)]
    assert secret not in capsys.readouterr().out


def test_a_second_demo_keeps_the_key_and_a_lost_one_is_replaced(key_file):
    call_command("demo")
    first = key_file.read_text()
    call_command("demo")
    assert key_file.read_text() == first
    key_file.write_text("something else\n")
    key_file.chmod(0o644)
    call_command("demo")
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert [revoked for _, _, revoked in keys()] == [True, False]
    assert post(key_file.read_text().strip()) == 200
    assert post(first.strip()) == 401
