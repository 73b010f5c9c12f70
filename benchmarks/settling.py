"""Fills tenants with people and writes what each one's browser would hold: a line a client for the load client.

python -m benchmarks.settling TENANTS PEOPLE FILE     so many people, spread evenly over so many new tenants

Each follows what every page follows and the tenant's figures: three channels. The tokens are the product's own, signed
for what the policies allow.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import django

django.setup()

from accounts.models import User  # noqa: E402
from events import channels  # noqa: E402
from events.channels import Channel, Topic  # noqa: E402
from realtime.models import Action  # noqa: E402
from realtime.policies import Standing, authorize  # noqa: E402
from realtime.tokens import connection_token, subscription_token  # noqa: E402
from tenants.models import Membership, Role, Tenant  # noqa: E402

TOGETHER = 1_000


def settle(tenants: int, people: int) -> Iterator[tuple[Tenant, User]]:
    """New tenants with their people: rows only, no events, since nobody's page is open yet."""
    mark = uuid4().hex[:8]
    made = [Tenant(slug=f"crowd-{mark}-{number}", name=f"Crowd {number}") for number in range(tenants)]
    Tenant.objects.bulk_create(made, batch_size=TOGETHER)
    for start in range(0, people, TOGETHER):
        numbers = range(start, min(start + TOGETHER, people))
        users = [User(email=f"{number}@{mark}.example", name=f"Person {number}", password="!") for number in numbers]
        User.objects.bulk_create(users)
        homes = [made[number % tenants] for number in numbers]
        Membership.objects.with_scopes_disabled().bulk_create(
            Membership(tenant=home, user=user, role=Role.TENANT_USER) for home, user in zip(homes, users, strict=True)
        )
        yield from zip(homes, users, strict=True)


def channels_of(tenant: Tenant, user: User) -> list[Channel]:
    return [
        channels.inbox(user.id),
        channels.tenant(tenant.id, Topic.DASHBOARD),
        channels.tenant(tenant.id, Topic.NOTIFICATIONS),
    ]


def check(tenant: Tenant, user: User) -> None:
    """That the policies allow it. All have the same role: what one of a tenant's people may hear, all may."""
    standing = Standing(user)
    for channel in channels_of(tenant, user):
        assert authorize(user, Action.SUBSCRIBE, channel, standing).allowed, channel.name


def browser_of(tenant: Tenant, user: User) -> dict[str, object]:
    return {
        "connect": {"data": {"token": connection_token(user).token}},
        "channels": {channel.name: subscription_token(user, channel).token for channel in channels_of(tenant, user)},
    }


def main(tenants: int, people: int, file: Path) -> list[str]:
    """Returns the tenants' ids."""
    settled: set[str] = set()
    with file.open("w") as lines:
        for tenant, user in settle(tenants, people):
            if str(tenant.id) not in settled:
                settled.add(str(tenant.id))
                check(tenant, user)
            lines.write(json.dumps(browser_of(tenant, user)) + "\n")
    return list(settled)


if __name__ == "__main__":
    tenants, people, file = sys.argv[1:]
    print(json.dumps(main(int(tenants), int(people), Path(file))))
