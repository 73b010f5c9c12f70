"""Which change becomes which event. The signals are sent by actions, inside their transaction."""

from collections.abc import Sequence
from decimal import Decimal

from django.dispatch import Signal, receiver

from billing.events import (
    Happened,
    InvoiceEvent,
    PaymentMethodUpdated,
    SubscriptionChange,
    SubscriptionUpdate,
    ThresholdChange,
    UsageThresholdUpdated,
    UsageUpdate,
)
from billing.models import Invoice, PaymentMethod, Subscription, Threshold, Usage
from events.actors import HasActor
from events.emit import emit

#: subscription: Subscription, change: what happened to it, by: HasActor | None
subscription_changed = Signal()
#: usage: Usage of the current period, limit: Decimal | None, reached: Sequence[int] (thresholds, in percent)
usage_changed = Signal()
#: threshold: Threshold that a tenant has, or had, version: int, change: what happened to it, by: HasActor | None
threshold_changed = Signal()
#: invoice: Invoice, event: what happened to it, by: HasActor | None
invoice_changed = Signal()
#: method: PaymentMethod, by: HasActor | None
method_changed = Signal()


@receiver(subscription_changed)
def say_what_is_paid_for(
    subscription: Subscription, change: SubscriptionChange, by: HasActor | None = None, **_: object
) -> None:
    emit(SubscriptionUpdate.of(subscription, change), by=by)


@receiver(usage_changed)
def say_how_much(usage: Usage, limit: Decimal | None, reached: Sequence[int], **_: object) -> None:
    """By nobody, whoever reported it: what services count all day is no activity of anyone's."""
    emit(UsageUpdate.of(usage, limit, reached))


@receiver(threshold_changed)
def say_at_which_level(
    threshold: Threshold, version: int, change: ThresholdChange, by: HasActor | None = None, **_: object
) -> None:
    emit(UsageThresholdUpdated.of(threshold, version, change), by=by)


@receiver(invoice_changed)
def say_what_happened(invoice: Invoice, event: Happened, by: HasActor | None = None, **_: object) -> None:
    emit(InvoiceEvent.of(invoice, event), by=by)


@receiver(method_changed)
def say_how_it_pays(method: PaymentMethod, by: HasActor | None = None, **_: object) -> None:
    emit(PaymentMethodUpdated.of(method), by=by)
