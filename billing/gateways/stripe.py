"""Stripe, by its own library. Cards never come here: people give them on Stripe's page, we keep Stripe's names of them.

A charge is a PaymentIntent, confirmed at once without the customer; our key goes with it as idempotency key and as
metadata. Stripe forgets idempotency keys after 24 hours, so what is asked for later is looked for by its metadata.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

import stripe
from django.conf import settings
from django.utils import timezone
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from billing.gateways import Answer, BadCallback, Charge, GiveBack, Outcome, Told, Unavailable
from billing.money import minor_per_unit

SIGNATURE = "Stripe-Signature"
#: Below the 24 hours that Stripe remembers a key: after these it is not asked to do anything again, only what it did.
KEYS_KEPT = timedelta(hours=23)
#: What Stripe counts in hundredths although ISO 4217 gives it none (docs.stripe.com/currencies, "special cases").
_HUNDREDTHS = frozenset({"ISK", "UGX"})
#: The least that is charged, in minor units: docs.stripe.com/currencies#minimum-and-maximum-charge-amounts.
_LEAST = {
    "AED": 200,
    "AUD": 50,
    "BGN": 100,
    "BRL": 50,
    "CAD": 50,
    "CHF": 50,
    "CZK": 1500,
    "DKK": 250,
    "EUR": 50,
    "GBP": 30,
    "HKD": 400,
    "HUF": 17500,
    "INR": 50,
    "JPY": 50,
    "MXN": 1000,
    "MYR": 200,
    "NOK": 300,
    "NZD": 50,
    "PLN": 200,
    "RON": 200,
    "SEK": 300,
    "SGD": 50,
    "THB": 1000,
    "USD": 50,
}
#: By the status of a PaymentIntent; every other one means that a person would have to act, and nobody is there.
_CHARGES = {"succeeded": Outcome.DONE, "processing": Outcome.PENDING}
_REFUNDS = {"succeeded": Outcome.DONE, "pending": Outcome.PENDING, "requires_action": Outcome.PENDING}
NEVER_REACHED = "It never reached the bank."
#: 409: the same key is being asked with at this moment.
IN_USE = 409
NOT_GIVEN_BACK = "Stripe can't give it back. See the payment in Stripe's dashboard."
#: docs.stripe.com/error-codes. It comes, too, where the account settles in another currency than the invoice's: then
#: the least is that one's, converted.
_TOO_LITTLE = "amount_too_small"
TOO_LITTLE = "Stripe charges no sum as small as this."
UNUSABLE = "The means of payment can't be used. Give it again, or another one."

T = TypeVar("T")


# --- What Stripe sends ------------------------------------------------------------------------------------------------


class _Problem(BaseModel):
    message: str | None = None


class _Intent(BaseModel):
    object: Literal["payment_intent"]
    id: str
    amount: int
    currency: str
    status: str
    metadata: dict[str, str] = {}
    last_payment_error: _Problem | None = None

    @property
    def answer(self) -> Answer:
        outcome = _CHARGES.get(self.status, Outcome.REFUSED)
        problem = self.last_payment_error.message if self.last_payment_error else None
        return Answer(outcome, self.id, (problem or UNUSABLE) if outcome == Outcome.REFUSED else "")


class _Refund(BaseModel):
    object: Literal["refund"]
    id: str
    amount: int
    currency: str
    status: str | None
    payment_intent: str | None = None
    metadata: dict[str, str] | None = {}
    failure_reason: str | None = None

    @property
    def answer(self) -> Answer:
        outcome = _REFUNDS.get(self.status or "pending", Outcome.REFUSED)
        reason = (self.failure_reason or "").replace("_", " ")
        return Answer(outcome, self.id, f"Stripe: {reason or self.status}." if outcome == Outcome.REFUSED else "")


class _Setup(BaseModel):
    object: Literal["setup_intent"]
    id: str
    status: str
    customer: str | None
    payment_method: str | None


class _Data(BaseModel):
    object: Annotated[_Intent | _Refund | _Setup, Field(discriminator="object")]


class _Event(BaseModel):
    id: str
    type: str
    created: int
    data: _Data


_EVENT = TypeAdapter(_Event)
#: What is listened to. The state that comes with an event is taken, whatever the event is called.
_TYPES = frozenset(
    {
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "payment_intent.canceled",
        "payment_intent.processing",
        "refund.created",
        "refund.updated",
        "refund.failed",
        "setup_intent.succeeded",
    }
)


# --- The gateway ------------------------------------------------------------------------------------------------------


class StripeGateway:
    name = "stripe"
    default_method: str | None = None
    takes_methods = False

    def __init__(self, key: str, webhook_secret: str, address: str = "") -> None:
        """`address` is where Stripe's API is, if not at Stripe."""
        self._webhook_secret = webhook_secret
        self._client = stripe.StripeClient(
            key,
            http_client=stripe.RequestsClient(timeout=settings.GATEWAY_TIMEOUT_SECONDS),
            max_network_retries=0,  # we ask again ourselves, with what we stored
            base_addresses={"api": address} if address else {},
        )

    def least_minor(self, currency: str) -> int:
        """Of a currency that Stripe does not list, half a unit, as of most that it does: it documents an equivalent of
        USD 0.50, and rates are not known here."""
        return _LEAST.get(currency, minor_per_unit(currency) // 2)

    def charge(self, order: Charge) -> Answer:
        if _is_old(order.first_asked_at):
            return self._found(self._intents_of(order), "payment", order.key, _Intent)
        return _answered(lambda: self._charge(order))

    def _charge(self, order: Charge) -> Answer:
        intent = self._client.v1.payment_intents.create(
            {
                "amount": _to_stripe(order.minor, order.currency),
                "currency": order.currency.lower(),
                "customer": order.customer,
                "payment_method": order.method,
                "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                "confirm": True,
                "off_session": True,
                "description": order.description,
                "metadata": {"payment": order.key},
            },
            {"idempotency_key": order.key},
        )
        return _Intent.model_validate(intent.to_dict()).answer

    def give_back(self, order: GiveBack) -> Answer:
        if _is_old(order.first_asked_at):
            return self._found(self._refunds_of(order), "refund", order.key, _Refund)
        return _answered(lambda: self._give_back(order), NOT_GIVEN_BACK)

    def _give_back(self, order: GiveBack) -> Answer:
        refund = self._client.v1.refunds.create(
            {
                "payment_intent": order.reference,
                "amount": _to_stripe(order.minor, order.currency),
                "metadata": {"refund": order.key},
            },
            {"idempotency_key": order.key},
        )
        return _Refund.model_validate(refund.to_dict()).answer

    def _intents_of(self, order: Charge) -> Callable[[], Iterable[Any]]:
        since = int((order.first_asked_at - timedelta(hours=1)).timestamp())
        wanted: Any = {"customer": order.customer, "created": {"gte": since}, "limit": 100}
        return lambda: self._client.v1.payment_intents.list(wanted).auto_paging_iter()

    def _refunds_of(self, order: GiveBack) -> Callable[[], Iterable[Any]]:
        wanted: Any = {"payment_intent": order.reference, "limit": 100}
        return lambda: self._client.v1.refunds.list(wanted).auto_paging_iter()

    def _found(
        self, things: Callable[[], Iterable[Any]], name: str, key: str, shape: type[_Intent] | type[_Refund]
    ) -> Answer:
        """What became of an old order: the thing that bears our key."""

        def look() -> Answer:
            for thing in things():
                found = shape.model_validate(thing.to_dict())
                if (found.metadata or {}).get(name) == key:
                    return found.answer
            return Answer(Outcome.REFUSED, reason=NEVER_REACHED)

        return _answered(look)

    def read_callback(self, body: bytes, headers: Mapping[str, str]) -> Told | None:
        """As docs.stripe.com/webhooks says: the signature stands for the body and its time, which is checked too."""
        try:
            text = body.decode()
            stripe.WebhookSignature.verify_header(
                text, headers.get(SIGNATURE, ""), self._webhook_secret, settings.CALLBACK_TOLERANCE_SECONDS
            )
        except (UnicodeDecodeError, stripe.SignatureVerificationError) as error:
            raise BadCallback("Its signature is not Stripe's, or too old.") from error
        return _told(body)

    def open_customer(self, tenant_id: str, name: str) -> str:
        def make() -> str:
            wanted: Any = {"name": name, "metadata": {"tenant": tenant_id}}
            return self._client.v1.customers.create(wanted, {"idempotency_key": f"customer-{tenant_id}"}).id

        return _or_unavailable(make)

    def page_for_method(self, customer: str, given: str, left: str) -> str:
        def make() -> str:
            wanted: Any = {
                "mode": "setup",
                "customer": customer,
                "payment_method_types": ["card"],
                "success_url": given,
                "cancel_url": left,
            }
            return self._client.v1.checkout.sessions.create(wanted).url or ""

        return _or_unavailable(make)


def make() -> StripeGateway:
    return StripeGateway(settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET, settings.STRIPE_API_ADDRESS)


def _answered(ask: Callable[[], Answer], if_invalid: str = UNUSABLE) -> Answer:
    """What Stripe refuses for good is an answer; for everything else nobody knows. Raises Unavailable."""

    def asked() -> Answer:
        try:
            return ask()
        except stripe.CardError as declined:
            intent = getattr(declined.error, "payment_intent", None)
            return Answer(Outcome.REFUSED, intent.id if intent else "", declined.user_message or UNUSABLE)
        except stripe.InvalidRequestError as wrong:
            if wrong.http_status == IN_USE:
                raise
            return Answer(Outcome.REFUSED, reason=TOO_LITTLE if wrong.code == _TOO_LITTLE else if_invalid)

    return _or_unavailable(asked)


def _or_unavailable(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except stripe.StripeError as problem:
        # Not its message: it may quote what was sent.
        raise Unavailable(f"Stripe: {type(problem).__name__}, request {problem.request_id}.") from None
    except ValidationError:
        raise Unavailable("Stripe answered in another shape than it documents.") from None


def _is_old(first_asked_at: datetime) -> bool:
    return timezone.now() - first_asked_at > KEYS_KEPT


def _told(body: bytes) -> Told | None:
    """Raises BadCallback."""
    try:
        kind = TypeAdapter(dict[str, Any]).validate_json(body).get("type")
        if kind not in _TYPES:
            return None
        event = _EVENT.validate_json(body)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        raise BadCallback(f"It is not of the shape that Stripe documents: {places or 'the body'}.") from None
    return _said(event.id, event.data.object, datetime.fromtimestamp(event.created, UTC))


def _said(event_id: str, thing: _Intent | _Refund | _Setup, at: datetime) -> Told | None:
    if isinstance(thing, _Setup):
        if not thing.customer or not thing.payment_method:
            return None
        return Told(event_id, "method", thing.customer, Answer(Outcome.DONE, thing.payment_method), at=at)
    about: Literal["charge", "refund"] = "charge" if isinstance(thing, _Intent) else "refund"
    key = (thing.metadata or {}).get("payment" if about == "charge" else "refund", "")
    charge = (thing.payment_intent or "") if isinstance(thing, _Refund) else ""
    if not key and not charge:
        return None  # somebody's else, in the same Stripe account
    currency = thing.currency.upper()
    return Told(event_id, about, key, thing.answer, _from_stripe(thing.amount, currency), currency, charge, at)


def _to_stripe(minor: int, currency: str) -> int:
    return minor * 100 if currency in _HUNDREDTHS and minor_per_unit(currency) == 1 else minor


def _from_stripe(amount: int, currency: str) -> int:
    return amount // 100 if currency in _HUNDREDTHS and minor_per_unit(currency) == 1 else amount
