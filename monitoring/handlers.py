"""What this app does when a tenant is back, and on the demo's creation."""

import os
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.dispatch import receiver

from monitoring.alerting.rules import watch_anew
from tenants.actions import create_api_key, revoke_api_key
from tenants.events import Change
from tenants.models import ApiKey, Tenant
from tenants.signals import demo_created, tenant_changed

DEMO_AGENT = "Agent on this machine"
DEMO_TENANT = "acme"


@receiver(tenant_changed)
def miss_nothing_of_its_suspension(tenant: Tenant, change: Change, **_: object) -> None:
    if change == Change.RESUMED:
        watch_anew(tenant)


@receiver(demo_created)
def let_the_agent_in(people: dict[str, Any], tenants: dict[str, Any], **_: object) -> None:
    """The demo's metrics are this machine's own: its agent gets a key, which only a file of the owner's has."""
    keys = ApiKey.objects.with_scopes_disabled()
    given = list(keys.filter(tenant=tenants[DEMO_TENANT], name=DEMO_AGENT, revoked=False))
    if any(key.is_valid(_kept_secret()) for key in given):
        return
    for lost in given:
        revoke_api_key(lost, by=people["admin"])
    secret = create_api_key(tenants[DEMO_TENANT], DEMO_AGENT, ["metrics:write"], by=people["admin"])[1]
    transaction.on_commit(partial(_keep_secret, secret))


def _kept_secret() -> str:
    return settings.AGENT_KEY_FILE.read_text().strip() if settings.AGENT_KEY_FILE.exists() else ""


def _keep_secret(secret: str) -> None:
    file: Path = settings.AGENT_KEY_FILE
    file.unlink(missing_ok=True)  # its mode, were it another's, would stay
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as kept:
        kept.write(f"{secret}\n")
