"""How many events a second may be published: for each tenant, on each kind of channel."""

from django.conf import settings

from events.channels import Channel, Topic
from tenants import rates

_KINDS = {f"tenant_{Topic.NOTIFICATIONS}": "notifications", f"tenant_{Topic.DASHBOARD}": "dashboard"}


def seconds_to_wait(channel: Channel) -> int:
    """Count one publication on a channel: 0 if it may go ahead, else in how many whole seconds to try again."""
    kind = "admin" if channel.namespace == "admin" else _KINDS.get(channel.kind, "other")
    return rates.seconds_to_wait(settings.PUBLISHED_PER_SECOND[kind], kind, str(channel.tenant_id or "platform"))
