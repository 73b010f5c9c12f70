"""Every kind of notification there is, what people call it, and how it reaches them unless they choose otherwise."""

from dataclasses import dataclass

from django.db import models


class Way(models.TextChoices):
    """How a notification reaches a person."""

    IN_APP = "in_app", "In app"
    EMAIL = "email", "E-mail"


class Pace(models.TextChoices):
    """When a notification's e-mail leaves."""

    OFF = "off", "No e-mail"
    NOW = "now", "At once"
    HOURLY = "hourly", "In an hourly digest"
    DAILY = "daily", "In a daily digest"


class InApp(models.TextChoices):
    """Whether a notification is in the inbox."""

    OFF = "off", "Off"
    ON = "on", "On"


class About(models.TextChoices):
    """What a kind belongs to: the filter of the inbox, the headings of the preferences."""

    DEPLOYMENTS = "deployments", "Deployments"
    BILLING = "billing", "Billing"
    MONITORING = "monitoring", "Monitoring"
    NOTICES = "notices", "Notices"
    ACCESS = "access", "Access"


@dataclass(frozen=True, slots=True)
class Kind:
    """`pace` is that of its e-mails where its person chose none.

    A kind that pages goes the ways that an escalation policy says: nobody switches it off for themselves.
    """

    name: str
    title: str
    about: str
    pace: Pace = Pace.OFF
    pages: bool = False


KINDS = [
    Kind("deployment_failed", "A deployment failed", About.DEPLOYMENTS, Pace.NOW),
    Kind("deployment_lost", "A deployment is lost", About.DEPLOYMENTS, Pace.NOW),
    Kind("deployment_completed", "A deployment I asked for is done", About.DEPLOYMENTS),
    Kind("invoice_created", "There is a new invoice", About.BILLING, Pace.NOW),
    Kind("invoice_failed", "A payment failed", About.BILLING, Pace.NOW),
    Kind("invoice_paid", "An invoice was paid", About.BILLING),
    Kind("invoice_refunded", "A payment was refunded", About.BILLING, Pace.NOW),
    Kind("billing_suspended", "Access ended because something is not paid", About.BILLING, Pace.NOW),
    Kind("billing_returned", "Access is back after something was paid", About.BILLING, Pace.NOW),
    Kind("usage_threshold", "Usage reached a threshold", About.BILLING, Pace.NOW),
    Kind("alert_firing", "An alert fires", About.MONITORING, Pace.NOW),
    Kind("alert_resolved", "An alert is over", About.MONITORING),
    Kind("alert_escalated", "An alert was escalated to me", About.MONITORING, Pace.NOW, pages=True),
    Kind("notice", "Somebody tells everybody something", About.NOTICES),
    Kind("access_given", "I was given access", About.ACCESS),
]
_BY_NAME = {kind.name: kind for kind in KINDS}

#: What a person has a choice about.
CHOSEN = [kind for kind in KINDS if not kind.pages]


def kind_of(name: str) -> Kind:
    """A kind without a line above is in the inbox only."""
    return _BY_NAME.get(name) or Kind(name, name.replace("_", " ").capitalize(), "")


def names_about(about: str) -> list[str]:
    return [kind.name for kind in KINDS if kind.about == about]
