"""What production must not start with, each in a sentence that says what to do.

`manage.py check --deploy` reports all of it. Without DEBUG the errors also stop the web process and every command.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from billing import gateways
from neostack.processes import SECRETS
from realtime import engine_config

SECRET_MIN_CHARACTERS = 32
#: A third of it is how long a web process may not know of a new signing key.
LEAD_MIN_SECONDS = 3.0


@register("production")
def at_start(**_: Any) -> list[CheckMessage]:
    """Django runs these before each command: so relay, runner and migrate refuse too.

    The tag lets a command that wants to start fast ask for these alone.
    """
    return errors() if settings.IN_PRODUCTION else []


@register(deploy=True)
def before_deploying(**_: Any) -> list[CheckMessage]:
    """What `at_start` did not say already."""
    return [*([] if settings.IN_PRODUCTION else errors()), *warnings()]


def refuse_unsafe_production() -> None:
    """For a process that runs no checks by itself. Raises ImproperlyConfigured that names every error."""
    if settings.IN_PRODUCTION and (found := errors()):
        raise ImproperlyConfigured(
            "\n".join(["Not started.", *(f"{error.id}: {error.msg} {error.hint}" for error in found)])
        )


def errors() -> list[CheckMessage]:
    return [*_debug(), *_secrets(), *_hosts(), *_origins(), *_engine_redis(), *_signing_keys(), *_gateway()]


def warnings() -> list[CheckMessage]:
    return [*_embedded_engine(), *_one_port(), *_sqlite(), *_plain_http(), *_no_money()]


def _debug() -> Iterator[CheckMessage]:
    if not settings.IN_PRODUCTION:
        yield Error(
            "DEBUG is on: error pages would show code and settings to anyone.", hint="Unset DEBUG.", id="neostack.E001"
        )


def _secrets() -> Iterator[CheckMessage]:
    values = {name: str(getattr(settings, name)) for name in SECRETS}
    fresh = "Make one: python -c 'import secrets; print(secrets.token_urlsafe(48))'"
    for name, value in values.items():
        if value.startswith(settings.DEVELOPMENT_SECRET):
            yield Error(f"{name} is the development value, which everybody can read.", hint=fresh, id="neostack.E002")
        elif len(value) < SECRET_MIN_CHARACTERS:
            yield Error(f"{name} is shorter than {SECRET_MIN_CHARACTERS} characters.", hint=fresh, id="neostack.E003")
    shared = [name for name, value in values.items() if Counter(values.values())[value] > 1]
    if shared:
        yield Error(f"{' and '.join(shared)} are the same: who learns one has all.", hint=fresh, id="neostack.E004")


def _hosts() -> Iterator[CheckMessage]:
    if "*" in settings.ALLOWED_HOSTS or not settings.ALLOWED_HOSTS:
        yield Error(
            "ALLOWED_HOSTS lets any host name in: links in mails could be made to point elsewhere.",
            hint="Name the hosts: ALLOWED_HOSTS=app.example.com",
            id="neostack.E005",
        )


def _origins() -> Iterator[CheckMessage]:
    if not settings.ALLOWED_ORIGINS or any("*" in origin for origin in settings.ALLOWED_ORIGINS):
        yield Error(
            "ALLOWED_ORIGINS checks nothing: any web site could open the engine's connection in a visitor's browser.",
            hint="Name the pages' own address: ALLOWED_ORIGINS=https://app.example.com",
            id="neostack.E006",
        )


def _engine_redis() -> Iterator[CheckMessage]:
    if settings.ENGINE_REDIS_URL and settings.ENGINE_REDIS_CLUSTER:
        yield Error(
            "ENGINE_REDIS_URL and ENGINE_REDIS_CLUSTER are both set: the engine keeps its channels in one of them.",
            hint="Name single servers or a cluster's nodes, not both.",
            id="neostack.E007",
        )
    schemes = {urlsplit(address).scheme for address in [*settings.ENGINE_REDIS_URL, *settings.ENGINE_REDIS_CLUSTER]}
    if not schemes <= {"redis"} and not schemes <= {"rediss"}:
        yield Error(
            "The engine's Redis addresses must all begin with redis://, or all with rediss:// for TLS.",
            hint="ENGINE_REDIS_URL=rediss://redis.example.com:6379",
            id="neostack.E008",
        )


def _signing_keys() -> Iterator[CheckMessage]:
    if settings.SIGNING_KEY_LEAD_SECONDS < LEAD_MIN_SECONDS:
        yield Error(
            f"SIGNING_KEY_LEAD_SECONDS is below {LEAD_MIN_SECONDS:g}: a web process could sign with a key that "
            "another one does not publish yet.",
            hint=f"Unset it, or give it {LEAD_MIN_SECONDS:g} or more.",
            id="neostack.E009",
        )


def _gateway() -> Iterator[CheckMessage]:
    gateway, local = settings.PAYMENT_GATEWAY, settings.LOCAL_GATEWAY_SECRET
    if gateway not in ("", *gateways.MODULES):
        names = ", ".join(gateways.MODULES)
        yield Error(f"PAYMENT_GATEWAY={gateway} is not known.", hint=f"One of: {names}.", id="neostack.E010")
    if gateway == "local" and (local.startswith(settings.DEVELOPMENT_SECRET) or len(local) < SECRET_MIN_CHARACTERS):
        yield Error(
            "LOCAL_GATEWAY_SECRET is the development value, or short: anybody could call an invoice paid.",
            hint="Set PAYMENT_GATEWAY=stripe, or give the local gateway a random secret of its own.",
            id="neostack.E011",
        )
    if gateway == "stripe" and not (settings.STRIPE_SECRET_KEY and settings.STRIPE_WEBHOOK_SECRET):
        yield Error(
            "PAYMENT_GATEWAY=stripe needs STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET.",
            hint="Both are in Stripe's dashboard; the second is that of the webhook at /api/billing/webhooks/stripe.",
            id="neostack.E012",
        )


def _no_money() -> Iterator[CheckMessage]:
    if settings.PAYMENT_GATEWAY == "local":
        yield Warning(
            "The local gateway moves no money.",
            hint="Set PAYMENT_GATEWAY=stripe, or leave it empty.",
            id="neostack.W005",
        )
    elif settings.PAYMENT_GATEWAY == "stripe" and "_test_" in settings.STRIPE_SECRET_KEY:
        yield Warning("STRIPE_SECRET_KEY is a test key: no card is charged.", hint="Use sk_live_.", id="neostack.W006")


def _embedded_engine() -> Iterator[CheckMessage]:
    if settings.ENGINE != "centrifugo" or not (settings.ENGINE_REDIS_URL or settings.ENGINE_REDIS_CLUSTER):
        yield Warning(
            f"ENGINE={settings.ENGINE} keeps channel history in one process's memory.",
            hint="Use ENGINE=centrifugo with Redis: ENGINE_REDIS_URL=redis://redis.example.com:6379",
            id="neostack.W001",
        )


def _one_port() -> Iterator[CheckMessage]:
    if settings.ENGINE == "centrifugo" and not engine_config.has_internal_port():
        yield Warning(
            "The engine's server API stands on the port that browsers come to; only its key keeps them out.",
            hint="Give browsers a port of their own: ENGINE_PORT=8001, with another one in ENGINE_API_URL.",
            id="neostack.W004",
        )


def _sqlite() -> Iterator[CheckMessage]:
    if "sqlite" in settings.DATABASES["default"]["ENGINE"]:
        yield Warning("The database is SQLite: one machine, one writer.", hint="Set DATABASE_URL.", id="neostack.W002")


def _plain_http() -> Iterator[CheckMessage]:
    if not settings.SITE_URL.startswith("https://"):
        yield Warning(
            f"SITE_URL is {settings.SITE_URL}: links in mails are not encrypted.",
            hint="Set SITE_URL=https://app.example.com",
            id="neostack.W003",
        )
