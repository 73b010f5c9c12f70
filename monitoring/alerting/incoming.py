"""Alerts that come from outside: what Alertmanager posts, and our own simple JSON.

Alertmanager does not try a 4xx again, so nothing of a batch is refused for one odd alert: what does not fit is cut. It
repeats itself and may be late; both change nothing (see `actions.raise_alert`).
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from monitoring.alerting.actions import Raised, TooManyAlerts, raise_alert, resolve_alert
from monitoring.alerting.models import KEY_LENGTH, MESSAGE_LENGTH, Alert, Severity, Source
from tenants.examples import example
from tenants.models import Tenant

LABELS_KEPT = 64
LABEL_LENGTH = 500
#: Other names that rules give severities.
SEVERITIES = {
    "page": Severity.CRITICAL,
    "fatal": Severity.CRITICAL,
    "emergency": Severity.CRITICAL,
    "high": Severity.ERROR,
    "major": Severity.ERROR,
    "warn": Severity.WARNING,
    "minor": Severity.WARNING,
    "low": Severity.INFO,
    "none": Severity.INFO,
    "notice": Severity.INFO,
}
#: Annotations that say what is wrong, the best first.
SAYING = ("summary", "description", "message", "title")


# --- Alertmanager -----------------------------------------------------------------------------------------------------


def _plausible(at: datetime) -> datetime:
    """The ends of the calendar are moments that, in another zone, no database or program has."""
    if not 1970 <= at.year <= 9000:
        raise ValueError("Use a year from 1970 to 9000.")
    return at


Moment = Annotated[AwareDatetime, AfterValidator(_plausible)]


class _Lenient(BaseModel):
    """Fields of versions to come are passed over."""

    model_config = ConfigDict(extra="ignore", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)


class AlertmanagerAlert(_Lenient):
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = Field(default_factory=dict)
    starts_at: Moment
    generator_url: str = Field(default="", alias="generatorURL")
    fingerprint: str = ""

    @property
    def key(self) -> str:
        """One for the same labels, whatever Alertmanager it comes through."""
        text = "\n".join(f"{name}\0{value}" for name, value in sorted(self.labels.items()))
        return f"alertmanager:{hashlib.sha256(text.encode()).hexdigest()[:40]}"

    def raised(self) -> Raised:
        name = self.labels.get("alertname", "") or "Alert without a name"
        said = next((self.annotations[one] for one in SAYING if self.annotations.get(one, "").strip()), name)
        return Raised(
            source=Source.ALERTMANAGER,
            key=self.key,
            name=clean(name, 200),
            severity=severity_of(self.labels.get("severity", "")),
            message=clean(said, MESSAGE_LENGTH),
            started_at=self.starts_at.astimezone(UTC),
            labels=cut_labels({name: value for name, value in self.labels.items() if name != "alertname"}),
            link=self.generator_url[:1000] if self.generator_url.isprintable() else "",
        )


class AlertmanagerWebhook(_Lenient):
    """What Alertmanager's webhook receiver posts, version 4."""

    model_config = example(
        version="4",
        groupKey='{}:{alertname="DiskFull"}',
        status="firing",
        receiver="neo-stack",
        groupLabels={"alertname": "DiskFull"},
        commonLabels={"alertname": "DiskFull", "severity": "critical"},
        commonAnnotations={"summary": "The disk of db-1 is full."},
        externalURL="http://alertmanager.example:9093",
        truncatedAlerts=0,
        alerts=[
            {
                "status": "firing",
                "labels": {"alertname": "DiskFull", "instance": "db-1", "severity": "critical"},
                "annotations": {"summary": "The disk of db-1 is full."},
                "startsAt": "2026-11-23T15:04:05.123Z",
                "generatorURL": "http://prometheus.example:9090/graph",
                "fingerprint": "c2b4f5d8a1e39076",
            }
        ],
    )

    version: Literal["4"]
    group_key: str = ""
    status: Literal["firing", "resolved"]
    receiver: str = ""
    group_labels: dict[str, str] = Field(default_factory=dict)
    common_labels: dict[str, str] = Field(default_factory=dict)
    common_annotations: dict[str, str] = Field(default_factory=dict)
    external_url: str = Field(default="", alias="externalURL")
    truncated_alerts: int = 0
    alerts: list[AlertmanagerAlert]


def take_alertmanager(tenant: Tenant, webhook: AlertmanagerWebhook) -> list[Alert]:
    """Raise and resolve what it says, each in a transaction of its own. Returns the alerts it was about.

    Raises TooManyAlerts, after those that there was room for; with the group's next notification they come again.
    """
    found: list[Alert] = []
    refused: TooManyAlerts | None = None
    for one in webhook.alerts:
        try:
            if alert := _take(tenant, one):
                found.append(alert)
        except TooManyAlerts as too_many:
            refused = too_many  # what is over makes room, and is heard
    if refused:
        raise refused
    return found


def _take(tenant: Tenant, said: AlertmanagerAlert) -> Alert | None:
    if said.status == "firing":
        return raise_alert(tenant, said.raised())
    return resolve_alert(tenant, said.key, said.raised())


# --- Our own JSON -----------------------------------------------------------------------------------------------------

Text = Annotated[str, Field(min_length=1, max_length=LABEL_LENGTH)]


class AlertIn(BaseModel):
    """Something that fires, or no longer does. The same `key` is the same alert; sent again it changes nothing."""

    model_config = ConfigDict(
        extra="forbid",
        title="AlertIn",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        json_schema_extra={
            "examples": [
                {
                    "key": "backup/db-1",
                    "name": "Backup failed",
                    "severity": "error",
                    "message": "The backup of db-1 failed: no space left.",
                    "labels": {"instance": "db-1"},
                },
                {"key": "backup/db-1", "status": "resolved"},
            ]
        },
    )

    key: Annotated[str, Field(min_length=1, max_length=KEY_LENGTH - 4, description="Its identity, of your choice.")]
    status: Literal["firing", "resolved"] = "firing"
    name: Annotated[str, Field(max_length=200, description="Default: the key.")] = ""
    severity: Literal["info", "warning", "error", "critical"] = "warning"
    message: Annotated[str, Field(max_length=MESSAGE_LENGTH, description="What is wrong. Default: the name.")] = ""
    labels: Annotated[dict[Text, Text], Field(max_length=LABELS_KEPT)] = Field(default_factory=dict)
    value: Annotated[float, Field(strict=True, allow_inf_nan=False)] | None = None
    started_at: Annotated[Moment, Field(description="Default: now. Another one is another firing.")] | None = None
    link: Annotated[str, Field(max_length=1000, pattern=r"^(https?://.*)?$")] = ""

    def raised(self, now: datetime) -> Raised:
        name = clean(self.name or self.key, 200)
        return Raised(
            source=Source.API,
            key=f"api:{self.key}",
            name=name,
            severity=self.severity,
            message=clean(self.message or name, MESSAGE_LENGTH),
            started_at=(self.started_at or now).astimezone(UTC),
            labels=cut_labels(self.labels),
            value=self.value,
            link=self.link,
        )


def take(tenant: Tenant, said: AlertIn, now: datetime) -> Alert | None:
    """Raise or resolve it. None: it is said to be over, and nothing of this key was open. Raises TooManyAlerts."""
    if said.status == "resolved":
        return resolve_alert(tenant, f"api:{said.key}")
    return raise_alert(tenant, said.raised(now))


# --- Making it fit ----------------------------------------------------------------------------------------------------


def severity_of(text: str) -> str:
    """Ours for whatever a rule's author wrote."""
    wanted = text.strip().lower()
    return wanted if wanted in Severity.values else SEVERITIES.get(wanted, Severity.WARNING).value


def clean(text: str, length: int) -> str:
    """One line, without what no page or database can show."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def cut_labels(labels: Mapping[str, Any]) -> dict[str, str]:
    kept = list(labels.items())[:LABELS_KEPT]
    return {clean(name, 100): clean(value, LABEL_LENGTH) for name, value in kept}
