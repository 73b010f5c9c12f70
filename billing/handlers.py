"""What is metered of others' events, who is subscribed by itself, what a tenant's deletion waits for, the demo's past.

This app names the types of others' events and reads their payloads; it imports none of their code. A handler may be
called again for the same event: its record's key is made of what happened, and the same record counts once.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from django.db import transaction
from django.dispatch import receiver
from django.utils import timezone
from django_scopes import scope

from accounts.actions import Refused
from billing import actions, demo
from billing.actions import BadRecord, NoSubscription, Used
from billing.models import OWED, DeletedNumber, Invoice, Refund, RefundStatus
from billing.prices import QUANTITY_PLACES
from events.handling import handler
from events.models import Event
from tenants.models import Tenant
from tenants.signals import demo_created, tenant_deleting

#: What a deployment ends as. Its minutes are billed whatever came of it: they were used.
_ENDINGS = frozenset({"completed", "failed", "cancelled", "lost"})
_MINUTE = timedelta(minutes=1)


@handler("begin_billing", types=["tenant_updated"])
def begin_billing(event: Event, seq: int) -> None:
    """A new tenant has the plan that everybody begins with, from the moment it was made."""
    if event.payload["change"] == "created" and event.tenant:
        actions.ensure_subscribed(event.tenant, at=event.occurred_at)


@handler("meter_deployments", types=["deployment_update"])
def meter_deployment(event: Event, seq: int) -> None:
    """The minutes between a deployment's start and its end. One that never started used none."""
    data = event.payload["data"]
    if event.payload["status"] not in _ENDINGS or not data["startedAt"] or not data["endedAt"]:
        return
    began, ended = datetime.fromisoformat(data["startedAt"]), datetime.fromisoformat(data["endedAt"])
    minutes = Decimal((ended - began) // timedelta(milliseconds=1)) / (_MINUTE // timedelta(milliseconds=1))
    used = Used(
        key=f"deployment:{event.payload['deploymentId']}",
        meter="deployment_minutes",
        quantity=round(max(minutes, Decimal(0)), QUANTITY_PLACES),
        at=ended,
        properties={"deployment": data["title"]},
    )
    _record(event, used)


@handler("meter_samples", types=["samples_stored"])
def meter_samples(event: Event, seq: int) -> None:
    """Samples of metrics that were stored, as monitoring says of each tenant once a minute."""
    used = Used(
        key=f"samples:{event.uuid}",
        meter="samples_stored",
        quantity=Decimal(event.payload["count"]),
        at=event.occurred_at,
    )
    _record(event, used)


def _record(event: Event, used: Used) -> None:
    """Nothing is billed of a tenant that is gone or has no subscription, nor of what was before it."""
    if event.tenant is None:
        return
    actions.ensure_subscribed(event.tenant, at=used.at)
    try:
        actions.record(event.tenant, [used])
    except NoSubscription:
        return
    except BadRecord as refused:
        if refused.code != "not_subscribed":
            raise


@receiver(tenant_deleting)
def refuse_while_something_is_owed(tenant: Tenant, **_: Any) -> None:
    with scope(tenant=tenant):
        unpaid = Invoice.objects.filter(tenant=tenant, status__in=OWED).count()
        on_its_way = Refund.objects.filter(tenant=tenant, status=RefundStatus.PENDING).exists()
    if unpaid:
        what = "1 invoice is" if unpaid == 1 else f"{unpaid} invoices are"
        raise Refused(f"{what} not paid. Nothing was changed: declare void what will not be, then delete {tenant}.")
    if on_its_way:
        raise Refused(f"Money is on its way back to {tenant}. Nothing was changed: wait until it has arrived.")


@receiver(tenant_deleting)
def keep_its_numbers(tenant: Tenant, **_: Any) -> None:
    """A series has no gap, also when the log no longer tells whose its numbers were."""
    with scope(tenant=tenant):
        issued = Invoice.objects.exclude(number=None).values_list("number", flat=True)
        numbers = [number for number in issued if number]
    now = timezone.now()
    gone = [DeletedNumber(number=number, tenant_name=tenant.name, deleted_at=now) for number in numbers]
    DeletedNumber.objects.bulk_create(gone, ignore_conflicts=True)


@receiver(demo_created)
def add_demo_history(people: dict[str, Any], tenants: dict[str, Tenant], **_: object) -> None:
    """After the demo is committed: gateways are asked outside any transaction."""
    acme, globex = tenants["acme"], tenants["globex"]
    if demo.begin(acme, globex):
        transaction.on_commit(partial(demo.live_through, acme, globex, people["alice"], people["admin"]))
