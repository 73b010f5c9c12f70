"""A gateway for tests and for the demo. It moves no money, and does what its means of payment are called.

Its books are a table, so that all processes see the same. Callbacks wait in it until `send_callbacks`, are signed, and
are read like anybody's.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from billing.gateways import Answer, BadCallback, Charge, GiveBack, Outcome, Told, Unavailable
from billing.models import LocalCharge

HEADER = "Local-Signature"
LATE = timedelta(minutes=1)
DECLINED = "The card was declined."
_NOW = timedelta()


@dataclass(frozen=True, slots=True)
class Script:
    """What a means of payment does: it answers with `outcome`, or not at all the first time, and calls back later.

    Of a charge that is pending the first callback decides; what is told after it comes out of order.
    """

    outcome: Outcome
    answers: bool = True
    callbacks: tuple[tuple[Outcome, timedelta], ...] = ()
    repeats: int = 1


SCRIPTS = {
    "pays": Script(Outcome.DONE),
    "declines": Script(Outcome.REFUSED),
    "times_out": Script(Outcome.DONE, answers=False),
    "calls_back": Script(Outcome.PENDING, callbacks=((Outcome.DONE, _NOW),)),
    "calls_back_twice": Script(Outcome.PENDING, callbacks=((Outcome.DONE, _NOW),), repeats=2),
    "calls_back_late": Script(Outcome.PENDING, callbacks=((Outcome.DONE, LATE),)),
    "calls_back_out_of_order": Script(Outcome.PENDING, callbacks=((Outcome.DONE, _NOW), (Outcome.REFUSED, _NOW))),
    "declines_by_callback": Script(Outcome.PENDING, callbacks=((Outcome.REFUSED, _NOW),)),
    "declines_then_pays": Script(Outcome.REFUSED, callbacks=((Outcome.DONE, LATE),)),
}
#: Not even reached: nothing is in its books.
AWAY = "is_away"


class LocalGateway:
    name = "local"
    default_method: str | None = "pays"
    takes_methods = True

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def least_minor(self, currency: str) -> int:
        return 0

    def charge(self, order: Charge) -> Answer:
        if order.method == AWAY:
            raise Unavailable("The local gateway is away.")
        script = SCRIPTS.get(order.method)
        if script is None:
            return Answer(Outcome.REFUSED, reason="There is no such means of payment.")
        charge, is_new = LocalCharge.objects.get_or_create(
            key=order.key,
            defaults={
                "reference": f"local_{uuid4().hex}",
                "outcome": script.outcome,
                "reason": DECLINED if script.outcome == Outcome.REFUSED else "",
                "minor": order.minor,
                "currency": order.currency,
                "callbacks": _callbacks(script),
            },
        )
        if is_new and not script.answers:
            raise Unavailable("The local gateway did not answer in time.")
        return Answer(Outcome(charge.outcome), charge.reference, charge.reason)

    def give_back(self, order: GiveBack) -> Answer:
        with transaction.atomic():
            charge = LocalCharge.objects.select_for_update().filter(reference=order.reference).first()
            if charge is None or charge.outcome != Outcome.DONE:
                return Answer(Outcome.REFUSED, reason="There is no such charge.")
            if order.key not in charge.refunds:
                if sum(charge.refunds.values()) + order.minor > charge.minor:
                    return Answer(Outcome.REFUSED, reason="More than was paid cannot be given back.")
                charge.refunds[order.key] = order.minor
                charge.save(update_fields=["refunds"])
        return Answer(Outcome.DONE, f"{charge.reference}_{order.key}")

    def read_callback(self, body: bytes, headers: Mapping[str, str]) -> Told | None:
        self._check(body, headers.get(HEADER, ""))
        try:
            said = orjson.loads(body)
            answer = Answer(Outcome(said["outcome"]), said["reference"], said["reason"])
            return Told(said["id"], "charge", said["key"], answer, int(said["minor"]), said["currency"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadCallback("It is not a callback of the local gateway.") from error

    def open_customer(self, tenant_id: str, name: str) -> str:
        return f"local_{tenant_id}"

    def page_for_method(self, customer: str, given: str, left: str) -> str:
        raise NotImplementedError("The local gateway has no page: name one of its means of payment.")

    def signed(self, body: bytes) -> dict[str, str]:
        """The headers with which a callback is sent."""
        at = str(int(timezone.now().timestamp()))
        return {HEADER: f"{at}.{self._signature(at, body)}"}

    def _check(self, body: bytes, header: str) -> None:
        at, _, signature = header.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(at, body).encode()):
            raise BadCallback("The signature is not the local gateway's.")
        if abs(timezone.now().timestamp() - int(at)) > settings.CALLBACK_TOLERANCE_SECONDS:
            raise BadCallback("It was signed too long ago.")

    def _signature(self, at: str, body: bytes) -> str:
        return hmac.new(self._secret, at.encode() + b"." + body, hashlib.sha256).hexdigest()


def make() -> LocalGateway:
    return LocalGateway(settings.LOCAL_GATEWAY_SECRET)


def _callbacks(script: Script) -> list[dict[str, Any]]:
    now = timezone.now()
    return [
        {"id": f"local_{uuid4().hex}", "outcome": outcome, "due": (now + after).isoformat(), "left": script.repeats}
        for outcome, after in script.callbacks
    ]


def send_callbacks(take: Callable[[str, bytes, Mapping[str, str]], object]) -> int:
    """Send every callback that is due to `take`, which gets the gateway's name, the body and the headers, as often as
    it is to come. Returns how many were sent. Who dies half-way sends some again."""
    sent = 0
    gateway = make()
    for charge in LocalCharge.objects.exclude(callbacks=[]).order_by("created_at"):
        due = [one for one in charge.callbacks if datetime.fromisoformat(one["due"]) <= timezone.now()]
        for one in due:
            _happen(charge, Outcome(one["outcome"]))
            body = _said(charge, one)
            for _ in range(one["left"]):
                take(gateway.name, body, gateway.signed(body))
                sent += 1
        charge.callbacks = [one for one in charge.callbacks if one not in due]
        charge.save(update_fields=["callbacks"])
    return sent


def _happen(charge: LocalCharge, outcome: Outcome) -> None:
    """What the callback speaks of has happened here too. Money that came stays."""
    if charge.outcome != Outcome.DONE:
        charge.outcome, charge.reason = outcome, DECLINED if outcome == Outcome.REFUSED else ""
        charge.save(update_fields=["outcome", "reason"])


def _said(charge: LocalCharge, callback: dict[str, Any]) -> bytes:
    outcome = callback["outcome"]
    return orjson.dumps(
        {
            "id": callback["id"],
            "key": charge.key,
            "reference": charge.reference,
            "outcome": outcome,
            "reason": DECLINED if outcome == Outcome.REFUSED else "",
            "minor": charge.minor,
            "currency": charge.currency,
        }
    )
