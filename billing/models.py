"""What is sold, to whom, what was used, what is owed and what was paid. Money is in minor units (see money.py).

Between rows of one tenant references are RESTRICT: they hold against everything but the tenant's own deletion.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.functional import cached_property

from billing import periods
from billing.fields import QuantityField
from billing.money import UnknownCurrency, minor_per_unit, shown
from billing.prices import Prices
from events.ids import new_id
from events.scoping import TenantManager
from tenants.models import Tenant

KEY_LENGTH = 200
SLUG = RegexValidator(r"^[a-z][a-z0-9_]*$", "Use lower-case letters, digits and underscores, beginning with a letter.")


def wire_time(at: datetime | None) -> str | None:
    """A moment as events and the API write it: UTC, milliseconds, Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None


class Frozen(RuntimeError):
    """A published plan, a record of usage or an issued invoice was about to be changed."""


def validate_currency(code: str) -> None:
    try:
        minor_per_unit(code)
    except UnknownCurrency as error:
        raise ValidationError(str(error)) from None


def validate_prices(raw: Any) -> None:
    try:
        Prices.parse(raw)
    except ValueError as error:
        raise ValidationError(str(error).splitlines()) from None


# --- What is sold -----------------------------------------------------------------------------------------------------


class Aggregation(models.TextChoices):
    """What a meter's records of one period come to."""

    SUM = "sum", "Sum"
    MAX = "max", "Highest"
    LAST = "last", "Last"
    UNIQUE = "unique", "How many different"

    @property
    def is_level(self) -> bool:
        """Whether half a period has as much of it as the whole one: seats, not minutes."""
        return self is not Aggregation.SUM

    @property
    def goes_on(self) -> bool:
        """Whether what was reported last holds until something else is: seats, not who was active."""
        return self in (Aggregation.MAX, Aggregation.LAST)


class Meter(models.Model):
    """Something that is counted. Its slug is the `resource` of `usage_update`."""

    slug = models.CharField(max_length=50, primary_key=True, validators=[SLUG])
    name = models.CharField(max_length=100)
    unit = models.CharField(max_length=30, help_text="Of one, as a line of an invoice says it: minute.")
    aggregation = models.CharField(max_length=10, choices=Aggregation.choices, default=Aggregation.SUM)
    counted_property = models.CharField(
        max_length=50, blank=True, help_text="How many different: values of this property of its records."
    )

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(aggregation=Aggregation.UNIQUE) ^ Q(counted_property=""),
                name="only_counting_different_values_needs_a_property",
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_level(self) -> bool:
        return Aggregation(self.aggregation).is_level

    @property
    def goes_on(self) -> bool:
        return Aggregation(self.aggregation).goes_on


class Plan(models.Model):
    """One version of an offer. Publishing it freezes it: other prices are a new version."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    slug = models.SlugField(max_length=50)
    version = models.PositiveIntegerField(default=1, editable=False)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    currency = models.CharField(max_length=3, validators=[validate_currency])
    prices = models.JSONField(validators=[validate_prices], help_text="See billing/prices.py for what it may say.")
    published_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["name", "-version"]
        constraints = [models.UniqueConstraint(fields=["slug", "version"], name="one_row_per_plan_version")]

    def __str__(self) -> str:
        return f"{self.name} (version {self.version})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding and Plan.objects.filter(pk=self.pk, published_at__isnull=False).exists():
            raise Frozen(f"{self} is published and stays as it is. Make a new version.")
        super().save(*args, **kwargs)

    def clean(self) -> None:
        others = Plan.objects.filter(slug=self.slug, version=self.version).exclude(pk=self.pk)
        if others.exists():
            raise ValidationError({"slug": f"There is an offer {self.slug} already. Make its next version."})

    @property
    def is_published(self) -> bool:
        return self.published_at is not None

    @property
    def price_list(self) -> Prices:
        return Prices.parse(self.prices)


# --- To whom, and for how long ----------------------------------------------------------------------------------------


class Subscription(models.Model):
    """A tenant is billed by periods while it has one. `plan` is the one in force, or next where it is to end."""

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, primary_key=True, related_name="subscription")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    started_at = models.DateTimeField()
    cancelled_at = models.DateTimeField(null=True, blank=True, help_text="When it was asked to end with its period.")
    ended_at = models.DateTimeField(null=True, blank=True)
    suspended_at = models.DateTimeField(
        null=True, blank=True, help_text="When the tenant was suspended because it does not pay, until it has."
    )
    version = models.PositiveBigIntegerField(default=1)
    thresholds_version = models.PositiveBigIntegerField(default=0, help_text="Of the tenant's own thresholds.")

    objects: ClassVar[TenantManager[Subscription]] = TenantManager()

    def __str__(self) -> str:
        return f"{self.plan} for {self.tenant}"


class Period(models.Model):
    """What one invoice is about: a month of the tenant's calendar, or what a subscription had of it."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="billing_periods")
    month_starts_at = models.DateTimeField(help_text="Of the whole month that a plan's prices are for.")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    zone = models.CharField(max_length=64, help_text="Where its first and last day are those of a month.")
    closed_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[TenantManager[Period]] = TenantManager()

    class Meta:
        ordering = ["-starts_at"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "starts_at"], name="one_period_begins_at_a_time"),
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="a_period_has_some_length"),
            models.CheckConstraint(
                condition=Q(starts_at__gte=F("month_starts_at")), name="a_period_begins_within_its_month"
            ),
        ]
        indexes = [models.Index(fields=["ends_at"], condition=Q(closed_at__isnull=True), name="periods_to_close")]

    def __str__(self) -> str:
        return f"{self.tenant} from {self.starts_at:%Y-%m-%d}"

    @property
    def is_closed(self) -> bool:
        return self.closed_at is not None

    @cached_property
    def in_force(self) -> list[Segment]:
        """Its segments with their plans, in order, as they were when this was first asked."""
        return list(self.segments.select_related("plan"))

    def share(self, since: datetime, until: datetime) -> Fraction:
        """Which part of the whole month lies between two moments of this period."""
        return periods.share(self.month_starts_at, self.ends_at, since, until)


class Segment(models.Model):
    """The part of a period in which one plan was in force. Each is priced by itself: see prices.py."""

    id = models.BigAutoField(primary_key=True)
    period = models.ForeignKey(Period, on_delete=models.CASCADE, related_name="segments")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    since = models.DateTimeField()
    until = models.DateTimeField()

    objects: ClassVar[TenantManager[Segment]] = TenantManager()

    class Meta:
        ordering = ["since"]
        constraints = [
            models.UniqueConstraint(fields=["period", "since"], name="one_segment_begins_at_a_time"),
            models.CheckConstraint(condition=Q(until__gt=F("since")), name="a_segment_has_some_length"),
        ]

    def __str__(self) -> str:
        return f"{self.plan} from {self.since:%Y-%m-%d %H:%M}"


# --- What was used ----------------------------------------------------------------------------------------------------


class UsageRecord(models.Model):
    """One thing that was used, as it was reported. The same key with the same content again is the same record."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", db_index=False)
    key = models.CharField(max_length=KEY_LENGTH, help_text="The caller's own, to tell a repeat from another record.")
    digest = models.CharField(max_length=64, help_text="SHA-256 of what was sent with the key.")
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+", db_index=False)
    quantity = QuantityField()
    at = models.DateTimeField(help_text="When it was used.")
    properties = models.JSONField(default=dict)
    period = models.ForeignKey(Period, on_delete=models.CASCADE, related_name="records", db_index=False)
    is_late = models.BooleanField(default=False, help_text="Its own period was closed: a later invoice adjusts.")
    adjusted_by = models.ForeignKey("Invoice", on_delete=models.RESTRICT, null=True, blank=True, related_name="+")
    recorded_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[TenantManager[UsageRecord]] = TenantManager()

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["tenant", "key"], name="a_usage_key_is_used_once")]
        indexes = [
            models.Index(fields=["period", "meter", "at"], name="usage_of_a_period"),
            models.Index(fields=["tenant", "at", "id"], name="usage_of_a_tenant"),
            models.Index(fields=["tenant"], condition=Q(is_late=True, adjusted_by=None), name="usage_to_adjust"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} of {self.meter_id} at {self.at:%Y-%m-%d %H:%M}"


class Usage(models.Model):
    """What the records of one meter come to in one period so far. Its lock makes a meter's writers take turns."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", db_index=False)
    period = models.ForeignKey(Period, on_delete=models.CASCADE, related_name="usage", db_index=False)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+", db_index=False)
    quantity = QuantityField(default=Decimal(0))
    last_at = models.DateTimeField(null=True, blank=True, help_text="Of the record that counts, where the last does.")
    records = models.PositiveBigIntegerField(default=0)
    version = models.PositiveBigIntegerField(default=0)

    objects: ClassVar[TenantManager[Usage]] = TenantManager()

    class Meta:
        verbose_name_plural = "usage"
        constraints = [models.UniqueConstraint(fields=["period", "meter"], name="one_usage_per_period_and_meter")]

    def __str__(self) -> str:
        return f"{self.quantity} of {self.meter_id}"


class CountedValue(models.Model):
    """A value that a period's "how many different" has counted."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", db_index=False)
    period = models.ForeignKey(Period, on_delete=models.CASCADE, related_name="+", db_index=False)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+", db_index=False)
    value = models.CharField(max_length=KEY_LENGTH)

    objects: ClassVar[TenantManager[CountedValue]] = TenantManager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["period", "meter", "value"], name="a_value_is_counted_once")]

    def __str__(self) -> str:
        return self.value


class Threshold(models.Model):
    """A tenant's own wish to be told, beside the platform's 50, 80 and 100 %."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="usage_thresholds")
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+")
    percent = models.PositiveIntegerField(validators=[MinValueValidator(1), MaxValueValidator(1000)])

    objects: ClassVar[TenantManager[Threshold]] = TenantManager()

    class Meta:
        ordering = ["meter", "percent"]
        constraints = [models.UniqueConstraint(fields=["tenant", "meter", "percent"], name="one_threshold_per_level")]

    def __str__(self) -> str:
        return f"{self.percent} % of {self.meter_id}"


class Crossing(models.Model):
    """A threshold was reached. Once for each tenant, meter, period and level, whoever records at the same time."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", db_index=False)
    period = models.ForeignKey(Period, on_delete=models.CASCADE, related_name="crossings", db_index=False)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+", db_index=False)
    percent = models.PositiveIntegerField()
    at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[TenantManager[Crossing]] = TenantManager()

    class Meta:
        ordering = ["at"]
        constraints = [
            models.UniqueConstraint(fields=["period", "meter", "percent"], name="a_threshold_is_reached_once")
        ]

    def __str__(self) -> str:
        return f"{self.percent} % of {self.meter_id}"


# --- What is owed -----------------------------------------------------------------------------------------------------


class Kind(models.TextChoices):
    INVOICE = "invoice", "Invoice"
    CREDIT_NOTE = "credit_note", "Credit note"


class Status(models.TextChoices):
    DRAFT = "draft", "Draft"
    OPEN = "open", "Open"
    PAID = "paid", "Paid"
    FAILED = "failed", "Failed"
    REFUNDED = "refunded", "Refunded"
    VOID = "void", "Void"


#: The state machine. A failed invoice is still owed: it may be paid, tried again (and fail again) or given up.
TRANSITIONS: dict[str, frozenset[str]] = {
    Status.DRAFT: frozenset({Status.OPEN}),
    Status.OPEN: frozenset({Status.PAID, Status.FAILED, Status.VOID}),
    Status.FAILED: frozenset({Status.PAID, Status.FAILED, Status.VOID}),
    Status.PAID: frozenset({Status.REFUNDED}),
    Status.REFUNDED: frozenset(),
    Status.VOID: frozenset(),
}


#: Statuses in which money is still wanted.
OWED = (Status.OPEN, Status.FAILED)


class IllegalTransition(RuntimeError):
    """An invoice cannot go from its status to that one."""


class Series(models.Model):
    """Numbers without gaps: the lock on a series' row is held by whoever takes its next number, until it commits."""

    prefix = models.CharField(max_length=20, primary_key=True)
    next_number = models.PositiveBigIntegerField(default=1)

    class Meta:
        verbose_name_plural = "series"

    def __str__(self) -> str:
        return self.prefix


class DeletedNumber(models.Model):
    """The number of an invoice that went with its tenant: it was given, and is not missing."""

    number = models.CharField(max_length=40, primary_key=True)
    tenant_name = models.CharField(max_length=150)
    deleted_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.number


class Invoice(models.Model):
    """What a tenant owes for a period, or gets back. Once it has a number, only its status changes."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="invoices")
    kind = models.CharField(max_length=15, choices=Kind.choices, default=Kind.INVOICE)
    period = models.ForeignKey(Period, on_delete=models.RESTRICT, null=True, blank=True, related_name="invoices")
    credits = models.ForeignKey("self", on_delete=models.RESTRICT, null=True, blank=True, related_name="credit_notes")
    number = models.CharField(max_length=40, null=True, blank=True, unique=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.DRAFT)
    buyer = models.CharField(max_length=150, blank=True, help_text="The tenant's name when it was issued.")
    currency = models.CharField(max_length=3)
    total_minor = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    issued_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True, help_text="When it was paid, refunded or voided.")
    reason = models.CharField(max_length=300, blank=True, help_text="Why it failed or was voided, in words for people.")
    tries = models.PositiveSmallIntegerField(default=0, help_text="To collect it by schedule, which failed.")
    next_try_at = models.DateTimeField(null=True, blank=True, help_text="Of a failed one; none: not by itself.")
    version = models.PositiveBigIntegerField(default=1)

    objects: ClassVar[TenantManager[Invoice]] = TenantManager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["period"], condition=Q(kind=Kind.INVOICE), name="one_invoice_per_period"),
            models.CheckConstraint(
                condition=Q(status=Status.DRAFT, number=None) | (~Q(status=Status.DRAFT) & Q(number__isnull=False)),
                name="an_issued_invoice_has_a_number",
            ),
            models.CheckConstraint(
                condition=Q(kind=Kind.INVOICE, credits=None) | Q(kind=Kind.CREDIT_NOTE, credits__isnull=False),
                name="a_credit_note_credits_an_invoice",
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "-created_at"], name="invoices_of_a_tenant"),
            models.Index(fields=["due_at"], condition=Q(status__in=list(OWED)), name="invoices_that_are_owed"),
        ]

    def __str__(self) -> str:
        return self.number or "Draft"

    @property
    def total(self) -> str:
        return shown(self.total_minor, self.currency)

    @property
    def about(self) -> Period | None:
        """The period that it is about; a credit note, that of the invoice which it gives back."""
        return self.period or (self.credits.about if self.credits else None)

    @property
    def zone(self) -> str:
        """Where its days are days."""
        return self.about.zone if self.about else self.tenant.time_zone

    @property
    def access_ends_at(self) -> datetime | None:
        """When the schedule suspends the tenant for it: it was tried for the last time. None: not for this one."""
        if self.status != Status.FAILED or self.next_try_at or not self.due_at or not settings.PAYMENT_GATEWAY:
            return None
        if Subscription.objects.filter(pk=self.tenant_id).exclude(suspended_at=None).exists():
            return None
        return max(self.due_at + timedelta(days=settings.UNPAID_SUSPENDED_AFTER_DAYS), timezone.now())

    def move_to(self, status: str, reason: str = "") -> None:
        """Raises IllegalTransition. Does not save."""
        if status not in TRANSITIONS[self.status]:
            raise IllegalTransition(f"Invoice {self} is {self.get_status_display().lower()}, it cannot be {status}.")
        self.status, self.reason = status, reason
        self.version += 1


class InvoiceLine(models.Model):
    """One sum, and what it is made of: so many units of a meter at a price, in a part of a period."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    invoice = models.ForeignKey(Invoice, on_delete=models.CASCADE, related_name="lines")
    position = models.PositiveIntegerField()
    description = models.CharField(max_length=300)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    segment = models.ForeignKey(Segment, on_delete=models.RESTRICT, null=True, blank=True, related_name="+")
    carries = models.BooleanField(default=False, help_text="Left to the next invoice, or taken over from earlier ones.")
    quantity = QuantityField(null=True, blank=True, help_text="Rounded to six places; the sum was not.")
    unit_amount = models.CharField(max_length=40, blank=True, help_text="Of one, in whole units of the currency.")
    tier_from = QuantityField(null=True, blank=True, help_text="Where its tier begins, as the usage is counted.")
    tier_to = QuantityField(null=True, blank=True, help_text="Where it ends; none: nowhere.")
    since = models.DateTimeField()
    until = models.DateTimeField()
    amount_minor = models.BigIntegerField()

    objects: ClassVar[TenantManager[InvoiceLine]] = TenantManager()

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["invoice", "position"], name="one_line_per_position")]

    def __str__(self) -> str:
        return self.description


# --- What was paid ----------------------------------------------------------------------------------------------------


class PaymentMethod(models.Model):
    """How a tenant pays, by the names that its gateway gave: what a card says never comes here."""

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, primary_key=True, related_name="payment_method")
    gateway = models.CharField(max_length=20)
    customer = models.CharField(max_length=200, help_text="The gateway's name of the tenant.")
    reference = models.CharField(max_length=200, blank=True, help_text="Its name of the means; empty: none was given.")
    changed_at = models.DateTimeField(default=timezone.now)
    version = models.PositiveBigIntegerField(default=0)

    objects: ClassVar[TenantManager[PaymentMethod]] = TenantManager()

    def __str__(self) -> str:
        return f"{self.gateway} {self.reference}"


class PaymentStatus(models.TextChoices):
    PENDING = "pending", "Pending"
    PAID = "paid", "Paid"
    DECLINED = "declined", "Declined"
    REFUNDED = "refunded", "Refunded"


class Asked(models.Model):
    """Something that a gateway is asked for, under this row's id as key, until it has answered."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    reference = models.CharField(max_length=200, blank=True, help_text="The gateway's own id of it.")
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    decided_at = models.DateTimeField(null=True, blank=True)
    asked = models.PositiveIntegerField(default=0, help_text="How often the gateway was asked.")
    ask_at = models.DateTimeField(default=timezone.now, help_text="When to ask again, if nobody has heard by then.")

    class Meta:
        abstract = True


class Payment(Asked):
    """One try to collect an invoice. Its id goes to the gateway as idempotency key: asking again pays once."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    invoice = models.ForeignKey(Invoice, on_delete=models.CASCADE, related_name="payments")
    gateway = models.CharField(max_length=20)
    customer = models.CharField(max_length=200, blank=True, help_text="As it was when the gateway was first asked.")
    method = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=10, choices=PaymentStatus.choices, default=PaymentStatus.PENDING)
    is_scheduled = models.BooleanField(default=False, help_text="Tried by schedule, not by somebody.")

    objects: ClassVar[TenantManager[Payment]] = TenantManager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["invoice"], condition=Q(status=PaymentStatus.PENDING), name="one_try_to_pay_at_a_time"
            ),
            models.UniqueConstraint(
                fields=["gateway", "reference"], condition=~Q(reference=""), name="one_payment_per_reference"
            ),
        ]
        indexes = [
            models.Index(fields=["ask_at"], condition=Q(status=PaymentStatus.PENDING), name="payments_to_ask_for")
        ]

    def __str__(self) -> str:
        return f"{shown(self.amount_minor, self.currency)}, {self.get_status_display().lower()}"


class RefundStatus(models.TextChoices):
    PENDING = "pending", "Pending"
    DONE = "done", "Done"
    REFUSED = "refused", "Refused"


class Refund(Asked):
    """Money that goes back. With a credit note, if the invoice is given back; without, if it was paid twice."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    payment = models.ForeignKey(Payment, on_delete=models.CASCADE, related_name="refunds")
    status = models.CharField(max_length=10, choices=RefundStatus.choices, default=RefundStatus.PENDING)
    is_surplus = models.BooleanField(default=False, help_text="The invoice was not owed any more when it was paid.")
    purpose = models.CharField(max_length=300, help_text="Why, in words for people.")
    key = models.CharField(max_length=255, blank=True, help_text="The Idempotency-Key of who asked for it.")
    credit_note = models.ForeignKey(Invoice, on_delete=models.RESTRICT, null=True, blank=True, related_name="+")

    objects: ClassVar[TenantManager[Refund]] = TenantManager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["payment"], condition=Q(status=RefundStatus.PENDING), name="one_refund_at_a_time"
            ),
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="a_refund_gives_something_back"),
            models.UniqueConstraint(fields=["payment", "key"], condition=~Q(key=""), name="a_refund_is_asked_for_once"),
        ]
        indexes = [models.Index(fields=["ask_at"], condition=Q(status=RefundStatus.PENDING), name="refunds_to_ask_for")]

    def __str__(self) -> str:
        return f"{shown(self.amount_minor, self.currency)} back, {self.get_status_display().lower()}"


class GatewayEvent(models.Model):
    """Something that a gateway called to say, once: what it repeats is known by its id."""

    id = models.BigAutoField(primary_key=True)
    gateway = models.CharField(max_length=20)
    event_id = models.CharField(max_length=200)
    received_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["gateway", "event_id"], name="a_gateway_event_is_taken_once")]

    def __str__(self) -> str:
        return f"{self.gateway} {self.event_id}"


class LocalCharge(models.Model):
    """A line in the books of the local test gateway, which is nobody's: see gateways/local.py."""

    key = models.CharField(max_length=64, primary_key=True)
    reference = models.CharField(max_length=200, unique=True)
    outcome = models.CharField(max_length=10)
    reason = models.CharField(max_length=300, blank=True)
    minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    refunds = models.JSONField(default=dict, help_text="Minor units by key.")
    callbacks = models.JSONField(default=list, help_text="Those that are still to be sent.")
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.reference
