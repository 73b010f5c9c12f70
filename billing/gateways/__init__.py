"""The port to whoever moves money, and the gateways that stand behind it.

A gateway is far away: it is asked outside any transaction, and its answer may be lost. So every order has a key of
ours, and asking with the same key again is the same order: it charges, or gives back, once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from importlib import import_module
from typing import Literal, Protocol

from django.conf import settings

#: The module of each gateway has `make()`, which reads the settings.
MODULES = {"local": "billing.gateways.local", "stripe": "billing.gateways.stripe"}
#: What people pay in another way, and staff write down: no gateway is asked.
BY_HAND = "by_hand"


class Outcome(StrEnum):
    DONE = "done"
    REFUSED = "refused"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an order. `reference` is the gateway's own id of it; `reason` is for people, if it was refused."""

    outcome: Outcome
    reference: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Charge:
    """Collect so many minor units. `customer` and `method` are the gateway's own names of them."""

    key: str
    minor: int
    currency: str
    customer: str
    method: str
    description: str
    first_asked_at: datetime


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Give so many minor units of a charge back. `reference` is the charge's."""

    key: str
    reference: str
    minor: int
    currency: str
    first_asked_at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """What a gateway called to say about the charge or the refund of this key, or of a customer's new method.

    A refund that we did not ask for has no key; `charge` is the gateway's own id of what it gives back. `at`: when it
    happened, by the gateway's clock, as far as it says so.
    """

    event_id: str
    about: Literal["charge", "refund", "method"]
    key: str
    answer: Answer
    minor: int = 0
    currency: str = ""
    charge: str = ""
    at: datetime | None = None


class Unavailable(Exception):
    """No answer came: nobody knows whether it was done. Ask again with the same key."""


class BadCallback(Exception):
    """It does not come from the gateway, is too old, or is not of the shape it documents."""


class UnknownGateway(Unavailable):
    """No gateway of this name is in use here."""


class Gateway(Protocol):
    name: str
    #: Who has given no means of payment pays by this one; None: they must give one.
    default_method: str | None
    #: Whether a means of payment is given to us by its name; otherwise people give it on the gateway's own page.
    takes_methods: bool

    def least_minor(self, currency: str) -> int:
        """The least that it charges, in minor units; 0: it charges anything."""

    def charge(self, order: Charge) -> Answer:
        """Raises Unavailable. The same key is the same charge, however late it comes again."""

    def give_back(self, order: GiveBack) -> Answer:
        """Raises Unavailable. The same key is the same refund, however late it comes again."""

    def read_callback(self, body: bytes, headers: Mapping[str, str]) -> Told | None:
        """What it says; None if that is nothing we need. Raises BadCallback."""

    def open_customer(self, tenant_id: str, name: str) -> str:
        """The gateway's name of a tenant, made if there is none. Raises Unavailable."""

    def page_for_method(self, customer: str, given: str, left: str) -> str:
        """Where a person gives this customer's means of payment. They come back to the address `given`, or, if they
        gave none, to `left`. Raises Unavailable."""


def least_minor(currency: str) -> int:
    """The least that the gateway in use charges, in minor units; 0 where none is: people pay any sum by hand."""
    return get(settings.PAYMENT_GATEWAY).least_minor(currency) if settings.PAYMENT_GATEWAY else 0


@cache
def _made(name: str) -> Gateway:
    made: Gateway = import_module(MODULES[name]).make()
    return made


def get(name: str) -> Gateway:
    """Raises UnknownGateway for one that is not in use: the settings' own, and Stripe as long as we have its keys, so
    that what was begun there can end there."""
    in_use = {settings.PAYMENT_GATEWAY, *(["stripe"] if settings.STRIPE_SECRET_KEY else [])}
    if name not in MODULES or name not in in_use:
        raise UnknownGateway(name)
    return _made(name)
