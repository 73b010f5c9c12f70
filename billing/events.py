from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from billing.models import Invoice, Kind, PaymentMethod, Subscription, Threshold, Usage, wire_time
from billing.money import from_minor
from events import channels
from events.catalogue import EventType, register
from events.channels import Channel, Topic

Finite = Annotated[float, Field(allow_inf_nan=False)]
Happened = Literal["created", "paid", "failed", "refunded", "voided"]
AT = "2026-11-23T15:04:05.123Z"
#: In words: "Invoice A-7 over €12.00 ..."
_HAPPENED = {
    "created": "was issued",
    "paid": "was paid",
    "failed": "could not be collected",
    "refunded": "was refunded",
    "voided": "was declared void",
}


SubscriptionChange = Literal["started", "changed", "cancelled", "ended", "suspended", "returned"]
_CHANGES = {
    "started": "{who} subscribed to {plan}",
    "changed": "{who} changed the plan to {plan}",
    "cancelled": "{who} cancelled the subscription to {plan}: it ends with its period",
    "ended": "The subscription to {plan} has ended",
    "suspended": "Access ended: what is owed for {plan} was not paid",
    "returned": "Access is back: what was owed for {plan} is settled",
}


@register
class SubscriptionUpdate(EventType):
    """A tenant's subscription, as it is after a change."""

    type: ClassVar[str] = "subscription_update"
    endpoint: ClassVar[str | None] = "/api/billing/subscription/change"

    tenant_id: UUID
    version: Annotated[int, Field(ge=1)]
    change: SubscriptionChange
    plan: str
    plan_name: str
    plan_version: Annotated[int, Field(ge=1)]
    cancelled: bool
    ended: bool

    @classmethod
    def of(cls, subscription: Subscription, change: SubscriptionChange) -> "SubscriptionUpdate":
        plan = subscription.plan
        return cls(
            tenant_id=subscription.pk,
            version=subscription.version,
            change=change,
            plan=plan.slug,
            plan_name=plan.name,
            plan_version=plan.version,
            cancelled=subscription.cancelled_at is not None,
            ended=subscription.ended_at is not None,
        )

    def channels(self) -> Sequence[Channel]:
        return [channels.tenant(self.tenant_id, Topic.BILLING), channels.ADMIN_BILLING]

    def describe(self, who: str) -> str:
        return _CHANGES[self.change].format(who=who, plan=self.plan_name)

    @classmethod
    def samples(cls) -> Iterable["SubscriptionUpdate"]:
        known = {"tenant_id": UUID(int=1), "plan": "team", "plan_name": "Team", "plan_version": 1}
        yield cls(**known, version=1, change="started", cancelled=False, ended=False)
        yield cls(**known, version=2, change="cancelled", cancelled=True, ended=False)
        yield cls(**known, version=3, change="suspended", cancelled=True, ended=False)
        yield cls(**known, version=4, change="returned", cancelled=True, ended=False)


@register
class UsageUpdate(EventType):
    """How much of a meter a tenant has used in its current period, of what its plan includes.

    `limit` and `percentage` are None where nothing is included. `reached` are the levels, in percent, that were reached
    with this very change, and `threshold` is the highest of them; such an update also goes to the platform's billing
    channel.
    """

    type: ClassVar[str] = "usage_update"
    endpoint: ClassVar[str | None] = "/api/billing/usage"

    resource: str
    version: Annotated[int, Field(ge=1)]
    usage: Finite
    limit: Finite | None
    percentage: Finite | None
    threshold: Annotated[int, Field(ge=1)] | None = None
    reached: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)

    @classmethod
    def of(cls, usage: Usage, limit: Decimal | None, reached: Sequence[int]) -> "UsageUpdate":
        return cls(
            tenant_id=usage.tenant_id,
            resource=usage.meter_id,
            version=usage.version,
            usage=float(usage.quantity),
            limit=None if limit is None else float(limit),
            percentage=None if not limit else round(float(usage.quantity / limit * 100), 2),
            threshold=max(reached, default=None),
            reached=list(reached),
        )

    def channels(self) -> Sequence[Channel]:
        assert self.tenant_id
        found = [channels.tenant(self.tenant_id, Topic.BILLING), channels.tenant(self.tenant_id, Topic.DASHBOARD)]
        return [*found, channels.ADMIN_BILLING] if self.threshold else found

    def describe(self, who: str) -> str:
        of_how_many = "" if self.limit is None else f" of {self.limit:,g}"
        reached = f": {self.threshold} % reached" if self.threshold else ""
        return f"{self.resource.replace('_', ' ').capitalize()}: {self.usage:,g}{of_how_many} used{reached}"

    @classmethod
    def samples(cls) -> Iterable["UsageUpdate"]:
        known = {"tenant_id": UUID(int=1), "resource": "deployment_minutes"}
        yield cls(**known, version=7, usage=412.5, limit=500, percentage=82.5, threshold=80, reached=[50, 80])
        yield cls(**known, version=8, usage=413, limit=None, percentage=None)


ThresholdChange = Literal["added", "removed"]


@register
class UsageThresholdUpdated(EventType):
    """A tenant wishes to be told at another level, in percent of what is included of a meter, or not at it any more."""

    type: ClassVar[str] = "usage_threshold_updated"
    endpoint: ClassVar[str | None] = "/api/billing/thresholds"

    tenant_id: UUID
    version: Annotated[int, Field(ge=1)]
    change: ThresholdChange
    resource: str
    percent: Annotated[int, Field(ge=1)]

    @classmethod
    def of(cls, threshold: Threshold, version: int, change: ThresholdChange) -> "UsageThresholdUpdated":
        return cls(
            tenant_id=threshold.tenant_id,
            version=version,
            change=change,
            resource=threshold.meter_id,
            percent=threshold.percent,
        )

    def channels(self) -> Sequence[Channel]:
        return [channels.tenant(self.tenant_id, Topic.BILLING)]

    def describe(self, who: str) -> str:
        return f"{who} {self.change} the threshold at {self.percent} % of {self.resource.replace('_', ' ')}"

    @classmethod
    def samples(cls) -> Iterable["UsageThresholdUpdated"]:
        known = {"tenant_id": UUID(int=1), "resource": "deployment_minutes", "percent": 90}
        yield cls(**known, version=1, change="added")
        yield cls(**known, version=2, change="removed")


@register
class InvoiceEvent(EventType):
    """Something happened to an invoice or a credit note. `amount` is in whole units of the currency, exact: "128.40".

    `next_try_at`: when it is tried again to collect one that failed; None: not by itself. `access_ends_at`: when the
    tenant is suspended then, unless it pays.
    """

    type: ClassVar[str] = "invoice_event"

    invoice_id: UUID
    version: Annotated[int, Field(ge=1)]
    event: Happened
    number: str
    amount: Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?$")]
    currency: Annotated[str, Field(min_length=3, max_length=3)]
    reason: str = ""
    kind: Literal["invoice", "credit_note"] = "invoice"
    next_try_at: str | None = None
    access_ends_at: str | None = None

    @classmethod
    def of(cls, invoice: Invoice, event: Happened) -> "InvoiceEvent":
        return cls(
            tenant_id=invoice.tenant_id,
            invoice_id=invoice.pk,
            version=invoice.version,
            event=event,
            number=invoice.number or "",
            amount=str(from_minor(invoice.total_minor, invoice.currency)),
            currency=invoice.currency,
            reason=invoice.reason,
            kind=Kind(invoice.kind).value,
            next_try_at=wire_time(invoice.next_try_at),
            access_ends_at=wire_time(invoice.access_ends_at),
        )

    def channels(self) -> Sequence[Channel]:
        assert self.tenant_id
        return [channels.tenant(self.tenant_id, Topic.BILLING), channels.ADMIN_BILLING]

    def describe(self, who: str) -> str:
        amount = f"{Decimal(self.amount):,} {self.currency}"
        what = "Invoice" if self.kind == "invoice" else "Credit note"
        return f"{what} {self.number} over {amount} {_HAPPENED[self.event]}"

    @classmethod
    def samples(cls) -> Iterable["InvoiceEvent"]:
        known = {"tenant_id": UUID(int=1), "invoice_id": UUID(int=2), "number": "A-000007", "currency": "EUR"}
        yield cls(**known, version=2, event="created", amount="128.40")
        yield cls(**known, version=3, event="failed", amount="128.40", reason="The card was declined.", next_try_at=AT)
        yield cls(**known, version=4, event="failed", amount="128.40", reason="It was declined.", access_ends_at=AT)
        yield cls(**known | {"number": "CN-000001"}, version=3, event="created", amount="-28.40", kind="credit_note")


@register
class PaymentMethodUpdated(EventType):
    """A tenant pays by another means from now on. Which one is the gateway's to say: no number of a card is here."""

    type: ClassVar[str] = "payment_method_updated"
    endpoint: ClassVar[str | None] = "/api/billing/payment-method"

    tenant_id: UUID
    version: Annotated[int, Field(ge=1)]
    gateway: str

    @classmethod
    def of(cls, method: PaymentMethod) -> "PaymentMethodUpdated":
        return cls(tenant_id=method.pk, version=method.version, gateway=method.gateway)

    def channels(self) -> Sequence[Channel]:
        return [channels.tenant(self.tenant_id, Topic.BILLING)]

    def describe(self, who: str) -> str:
        return f"Invoices are paid by another means at {self.gateway.capitalize()} from now on"

    @classmethod
    def samples(cls) -> Iterable["PaymentMethodUpdated"]:
        yield cls(tenant_id=UUID(int=1), version=1, gateway="stripe")
