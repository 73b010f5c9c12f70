"""/api/monitoring/alerts, /rules, /silences, /escalation-policies, and what Alertmanager posts.

Alerts are the tenant admin's, as their channel is; a key reads them with events:read, and raises and resolves them with
alerts:write. Rules, policies, acknowledging and silencing are a person's.
"""

import logging
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError as InvalidModel
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound, Throttled, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actions import Refused
from monitoring.alerting import actions, bodies, incoming, rules, silences
from monitoring.alerting.bodies import read
from monitoring.alerting.incoming import AlertIn, AlertmanagerWebhook
from monitoring.alerting.models import Alert, AlertRule, EscalationPolicy, Severity, Silence, State
from monitoring.alerting.transitions import NotOpen, StaleVersion
from monitoring.alerting.trial import try_out
from tenants import rates
from tenants.access import Rule, TenantAPIView
from tenants.api import PAGES, Between, ByName, Conflict, NewestById, filtered, page_of, valid
from tenants.etags import (
    CONDITIONAL_CHANGE,
    CONDITIONAL_READ,
    ETAG,
    IF_MATCH,
    PreconditionFailed,
    expected_version,
    with_etag,
)
from tenants.models import Role, Tenant
from tenants.schema import refusals

logger = logging.getLogger("monitoring.alerting")

READ = Rule(role=Role.TENANT_ADMIN, scope="events:read")
PERSON = Rule(role=Role.TENANT_ADMIN)
RAISE = Rule(role=Role.TENANT_ADMIN, scope="alerts:write")
#: How long a source that raised too much waits before it tries again.
RETRY_SECONDS = 60

NOT_OPEN = Conflict("CPU is busy is resolved. Nothing was changed.", NotOpen.code)
STALE = Conflict(
    {"expectedVersion": "CPU is busy has changed meanwhile. You saw version 2, now it is 3."}, StaleVersion.code
)
PAST = Conflict("That moment is past. Nothing was changed: take a later one.")
TOO_MANY = Conflict("There are 200 already. Nothing was changed.", rules.TooMany.code)
TOO_OFTEN = Throttled(RETRY_SECONDS)


class AlertingAPIView(TenantAPIView):
    def handle_exception(self, exc: Exception) -> Any:
        return super().handle_exception(self._said(exc))

    def _said(self, exc: Exception) -> Exception:
        """What an action refused, as this API says it: fields are 400, the rest is a conflict with how things are."""
        if isinstance(exc, InvalidModel):
            return bodies.invalid_fields(exc)
        if isinstance(exc, silences.InvalidSilence):
            return ValidationError({exc.field: str(exc)})
        if isinstance(exc, rules.StaleVersion | silences.StaleVersion):
            return PreconditionFailed(exc.now.version)
        if isinstance(exc, StaleVersion):
            if self.if_match is not None:
                return PreconditionFailed(exc.now.version)
            text = f"{exc} You saw version {exc.seen}, now it is {exc.now.version}."
            return Conflict({"expectedVersion": text}, exc.code)
        if isinstance(exc, actions.TooManyAlerts):
            return Throttled(RETRY_SECONDS, str(exc))
        if isinstance(exc, Refused):
            return Conflict(str(exc), getattr(exc, "code", Conflict.default_code))
        return exc

    @property
    def tenant(self) -> Tenant:
        found: Tenant = self.request.tenant  # type: ignore[attr-defined]
        return found

    @property
    def by(self) -> Any:
        return self.request.principal  # type: ignore[attr-defined]

    @property
    def if_match(self) -> int | None:
        """The version that the caller asks for. Raises ValidationError."""
        return expected_version(self.request)

    def one(self, rows: QuerySet[Any], id: UUID) -> Any:
        """The row of this tenant; another's does not exist."""
        found = rows.filter(tenant=self.tenant, pk=id).first()
        if found is None:
            raise NotFound
        return found

    def slow_down(self) -> None:
        """Raises Throttled for who sends too often."""
        if wait := rates.seconds_to_wait(settings.ALERTS_POSTED_PER_SECOND, "alerts", str(self.tenant.pk)):
            raise Throttled(wait)


# --- Alerts -----------------------------------------------------------------------------------------------------------


class AlertQuery(Between):
    state = serializers.MultipleChoiceField(choices=[*State.choices, ("open", "Open")], required=False)
    severity = serializers.MultipleChoiceField(choices=Severity.choices, required=False)
    rule = serializers.UUIDField(required=False)
    name = serializers.CharField(max_length=200, required=False, help_text="The whole name.")


def alert_rows() -> QuerySet[Alert]:
    return Alert.objects.select_related("silence", "tenant")


class AlertListView(AlertingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ, "POST": RAISE}

    @extend_schema(operation_id="alerts_list", parameters=[AlertQuery, *PAGES], responses=bodies.AlertPage)
    def get(self, request: Request) -> Response:
        """The tenant's alerts, newest first. `since` and `until` are about when they began to fire."""
        wanted = valid(AlertQuery(data=request.query_params))
        found = alert_rows().filter(tenant=self.tenant)
        if states := set(wanted.get("state") or ()):
            others = {State.FIRING, State.ACKNOWLEDGED, State.SILENCED} if "open" in states else set()
            found = found.filter(state__in=[str(state) for state in (states - {"open"}) | others])
        found = filtered(
            found,
            wanted,
            severity="severity__in",
            rule="rule",
            name="name",
            since="started_at__gte",
            until="started_at__lt",
        )
        return page_of(found, request, NewestById(), lambda alert: bodies.AlertResource.of(alert).wire())

    @extend_schema(request=AlertIn, responses={200: bodies.Taken, 201: bodies.Taken} | refusals(TOO_OFTEN))
    def post(self, request: Request) -> Response:
        """Raise an alert, or resolve it. 201 where this opened one; sending it again changes nothing."""
        self.slow_down()
        said = read(AlertIn, request.data)
        try:
            alert = incoming.take(self.tenant, said, timezone.now())
        except Tenant.DoesNotExist:  # deleted since the key was looked at
            raise Http404 from None
        is_new = alert is not None and alert.is_new
        body = bodies.Taken(alert=bodies.AlertResource.of(alert) if alert else None)
        return Response(body.wire(), status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK)


class AlertView(AlertingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ}

    @extend_schema(parameters=CONDITIONAL_READ, responses=bodies.AlertResource)
    def get(self, request: Request, id: UUID) -> Response:
        """One alert as it is now."""
        alert = self.one(alert_rows(), id)
        return with_etag(request, bodies.AlertResource.of(alert).wire(), alert.version)


class AlertChangeView(AlertingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"POST": PERSON}

    def alert(self, id: UUID) -> Alert:
        found: Alert = self.one(alert_rows(), id)
        return found

    def seen(self, body: bodies.AcknowledgeBody | bodies.AlertChangeBody) -> int | None:
        """The version that the caller has seen: If-Match says it, or the body."""
        return body.expected_version if self.if_match is None else self.if_match

    def told(self, alert: Alert) -> Response:
        return with_etag(self.request, bodies.AlertResource.of(alert).wire(), alert.version)


class AcknowledgeView(AlertChangeView):
    @extend_schema(
        parameters=CONDITIONAL_CHANGE,
        request=bodies.AcknowledgeBody,
        responses={200: bodies.AlertResource} | refusals(NOT_OPEN, STALE, PAST),
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Say that you look after it: nobody else is called until it is over, or until the moment you give."""
        body = read(bodies.AcknowledgeBody, request.data)
        seen = self.seen(body)
        return self.told(
            actions.acknowledge(self.alert(id), self.by, note=body.note, until=body.until, expected_version=seen)
        )


class UnacknowledgeView(AlertChangeView):
    @extend_schema(
        parameters=CONDITIONAL_CHANGE,
        request=bodies.AlertChangeBody,
        responses={200: bodies.AlertResource} | refusals(NOT_OPEN, STALE),
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Nobody looks after it any more: it fires again."""
        body = read(bodies.AlertChangeBody, request.data)
        return self.told(actions.unacknowledge(self.alert(id), self.by, self.seen(body)))


class ResolveView(AlertChangeView):
    @extend_schema(
        parameters=CONDITIONAL_CHANGE,
        request=bodies.AlertChangeBody,
        responses={200: bodies.AlertResource}
        | refusals(Conflict("Its rule says when it is over.", actions.ItsSourceDecides.code), NOT_OPEN, STALE),
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Say that it is over. Only of what came by `POST /api/monitoring/alerts`: of others their source says so."""
        body = read(bodies.AlertChangeBody, request.data)
        return self.told(actions.resolve_by_hand(self.alert(id), self.by, self.seen(body)))


class SilenceAlertView(AlertChangeView):
    @extend_schema(parameters=[ETAG], request=bodies.SilenceAlertBody, responses={201: bodies.SilenceResource})
    def post(self, request: Request, id: UUID) -> Response:
        """Silence this alert, and whatever has its name and labels."""
        body = read(bodies.SilenceAlertBody, request.data)
        silence = silences.silence_alert(
            self.alert(id),
            body.reason,
            body.expires_at(timezone.now()),
            self.by,
            ends_on_resolve=body.ends_on_resolve,
            expected_version=body.expected_version,
        )
        return with_etag(request, bodies.SilenceResource.of(silence).wire(), silence.version, status.HTTP_201_CREATED)


class AlertmanagerView(AlertingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"POST": RAISE}

    @extend_schema(request=AlertmanagerWebhook, responses={200: bodies.TakenMany} | refusals(TOO_OFTEN))
    def post(self, request: Request) -> Response:
        """For a webhook receiver of Alertmanager (its payload of version 4). Repeated and late ones change nothing."""
        self.slow_down()
        webhook = read(AlertmanagerWebhook, request.data)
        if len(webhook.alerts) > settings.ALERTS_BATCH_LIMIT:
            raise ValidationError({"alerts": f"At most {settings.ALERTS_BATCH_LIMIT}: set max_alerts in its receiver."})
        try:
            found = incoming.take_alertmanager(self.tenant, webhook)
        except Tenant.DoesNotExist:
            raise Http404 from None
        if webhook.truncated_alerts:
            logger.warning("%d alerts of %s were left out by max_alerts.", webhook.truncated_alerts, self.tenant)
        still_open = sum(alert.is_open for alert in found)
        ended = len(webhook.alerts) - still_open
        return Response(bodies.TakenMany(open=still_open, resolved=ended, truncated=webhook.truncated_alerts).wire())


# --- Rules ------------------------------------------------------------------------------------------------------------


def rule_fields(body: bodies.RuleBody | bodies.RuleChange, tenant: Tenant) -> dict[str, Any]:
    """What was sent of a rule, by the model's names. Raises ValidationError for a policy that is not the tenant's."""
    fields = body.model_dump(by_alias=False, exclude_unset=isinstance(body, bodies.RuleChange))
    if "policy_id" in fields:
        policy_id = fields.pop("policy_id")
        fields["policy"] = EscalationPolicy.objects.filter(tenant=tenant, pk=policy_id).first()
        if policy_id and fields["policy"] is None:
            raise ValidationError({"policyId": "There is no such policy."})
    return fields


class RuleQuery(serializers.Serializer[Any]):
    metric = serializers.CharField(max_length=200, required=False, help_text="The whole name, with its labels.")
    enabled = serializers.BooleanField(allow_null=True, default=None)
    severity = serializers.MultipleChoiceField(choices=Severity.choices, required=False)


class RuleListView(AlertingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ, "POST": PERSON}

    @extend_schema(operation_id="alert_rules_list", parameters=[RuleQuery, *PAGES], responses=bodies.RulePage)
    def get(self, request: Request) -> Response:
        """The tenant's rules, by name."""
        wanted = valid(RuleQuery(data=request.query_params))
        found = AlertRule.objects.filter(tenant=self.tenant)
        found = filtered(found, wanted, metric="metric", enabled="enabled", severity="severity__in")
        return page_of(found, request, ByName(), lambda rule: bodies.RuleResource.of(rule).wire())

    @extend_schema(
        parameters=[ETAG], request=bodies.RuleBody, responses={201: bodies.RuleResource} | refusals(TOO_MANY)
    )
    def post(self, request: Request) -> Response:
        """Look for something from now on. `POST /api/monitoring/rules/dry-run` says first how often it would fire."""
        fields = rule_fields(read(bodies.RuleBody, request.data), self.tenant)
        rule = rules.create_rule(self.tenant, self.by, **fields)
        return with_etag(request, bodies.RuleResource.of(rule).wire(), rule.version, status.HTTP_201_CREATED)


class RuleView(AlertingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ, "PATCH": PERSON, "DELETE": PERSON}

    def rule(self, id: UUID) -> AlertRule:
        found: AlertRule = self.one(AlertRule.objects.select_related("tenant"), id)
        return found

    @extend_schema(parameters=CONDITIONAL_READ, responses=bodies.RuleResource)
    def get(self, request: Request, id: UUID) -> Response:
        """One rule as it is now."""
        rule = self.rule(id)
        return with_etag(request, bodies.RuleResource.of(rule).wire(), rule.version)

    @extend_schema(parameters=CONDITIONAL_CHANGE, request=bodies.RuleChange, responses=bodies.RuleResource)
    def patch(self, request: Request, id: UUID) -> Response:
        """Change some of its fields. An open alert stays until the rule is looked at next."""
        fields = rule_fields(read(bodies.RuleChange, request.data), self.tenant)
        rule = rules.update_rule(self.rule(id), self.by, expected_version=self.if_match, **fields)
        return with_etag(request, bodies.RuleResource.of(rule).wire(), rule.version)

    @extend_schema(parameters=[IF_MATCH], responses={204: None})
    def delete(self, request: Request, id: UUID) -> Response:
        """Its open alert is over with it."""
        rules.delete_rule(self.rule(id), self.by, expected_version=self.if_match)
        return Response(status=status.HTTP_204_NO_CONTENT)


class RuleTrialView(AlertingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"POST": PERSON}

    @extend_schema(request=bodies.RuleBody, responses=bodies.TrialResource)
    def post(self, request: Request) -> Response:
        """How often this rule would have fired in the last day. Nothing is stored."""
        fields = rule_fields(read(bodies.RuleBody, request.data), self.tenant)
        trial = try_out(rules.checked_rule(self.tenant, fields), timezone.now())
        return Response(bodies.TrialResource.of(trial).wire())


# --- Escalation policies ----------------------------------------------------------------------------------------------


class PolicyListView(AlertingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ, "POST": PERSON}

    @extend_schema(operation_id="escalation_policies_list", parameters=PAGES, responses=bodies.PolicyPage)
    def get(self, request: Request) -> Response:
        """The tenant's escalation policies, by name."""
        found = EscalationPolicy.objects.filter(tenant=self.tenant)
        return page_of(found, request, ByName(), lambda policy: bodies.PolicyResource.of(policy).wire())

    @extend_schema(
        parameters=[ETAG], request=bodies.PolicyBody, responses={201: bodies.PolicyResource} | refusals(TOO_MANY)
    )
    def post(self, request: Request) -> Response:
        """Say who is called, after how long, and how. One that is default takes the place of the one before."""
        policy = rules.create_policy(self.tenant, self.by, **read(bodies.PolicyBody, request.data).fields())
        return with_etag(request, bodies.PolicyResource.of(policy).wire(), policy.version, status.HTTP_201_CREATED)


class PolicyView(AlertingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ, "PATCH": PERSON, "DELETE": PERSON}

    def policy(self, id: UUID) -> EscalationPolicy:
        found: EscalationPolicy = self.one(EscalationPolicy.objects.select_related("tenant"), id)
        return found

    @extend_schema(parameters=CONDITIONAL_READ, responses=bodies.PolicyResource)
    def get(self, request: Request, id: UUID) -> Response:
        """One policy as it is now."""
        policy = self.policy(id)
        return with_etag(request, bodies.PolicyResource.of(policy).wire(), policy.version)

    @extend_schema(parameters=CONDITIONAL_CHANGE, request=bodies.PolicyChange, responses=bodies.PolicyResource)
    def patch(self, request: Request, id: UUID) -> Response:
        """Change some of its fields. Open alerts go on by it as it is then."""
        fields = read(bodies.PolicyChange, request.data).model_dump(mode="json", by_alias=False, exclude_unset=True)
        policy = rules.update_policy(self.policy(id), self.by, expected_version=self.if_match, **fields)
        return with_etag(request, bodies.PolicyResource.of(policy).wire(), policy.version)

    @extend_schema(parameters=[IF_MATCH], responses={204: None})
    def delete(self, request: Request, id: UUID) -> Response:
        """Open alerts that went by it call nobody any more."""
        rules.delete_policy(self.policy(id), self.by, expected_version=self.if_match)
        return Response(status=status.HTTP_204_NO_CONTENT)


# --- Silences ---------------------------------------------------------------------------------------------------------


class SilenceQuery(serializers.Serializer[Any]):
    state = serializers.ChoiceField(choices=["active", "ended"], required=False)


class SilenceListView(AlertingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ, "POST": PERSON}

    @extend_schema(operation_id="silences_list", parameters=[SilenceQuery, *PAGES], responses=bodies.SilencePage)
    def get(self, request: Request) -> Response:
        """The tenant's silences, newest first."""
        wanted = valid(SilenceQuery(data=request.query_params))
        found = Silence.objects.filter(tenant=self.tenant)
        if wanted.get("state"):
            found = found.filter(ended_at__isnull=wanted["state"] == "active")
        return page_of(found, request, NewestById(), lambda silence: bodies.SilenceResource.of(silence).wire())

    @extend_schema(parameters=[ETAG], request=bodies.SilenceBody, responses={201: bodies.SilenceResource})
    def post(self, request: Request) -> Response:
        """Silence every alert that matches, those to come included."""
        body = read(bodies.SilenceBody, request.data)
        silence = silences.create_silence(
            self.tenant,
            [one.model_dump(by_alias=False) for one in body.matchers],
            body.reason,
            body.expires_at(timezone.now()),
            self.by,
            ends_on_resolve=body.ends_on_resolve,
        )
        return with_etag(request, bodies.SilenceResource.of(silence).wire(), silence.version, status.HTTP_201_CREATED)


class SilenceView(AlertingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ}

    @extend_schema(parameters=CONDITIONAL_READ, responses=bodies.SilenceResource)
    def get(self, request: Request, id: UUID) -> Response:
        """One silence as it is now."""
        silence = self.one(Silence.objects.all(), id)
        return with_etag(request, bodies.SilenceResource.of(silence).wire(), silence.version)


class EndSilenceView(AlertingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"POST": PERSON}

    @extend_schema(parameters=CONDITIONAL_CHANGE, request=None, responses=bodies.SilenceResource)
    def post(self, request: Request, id: UUID) -> Response:
        """What it silenced fires again. Ending it twice is ending it once."""
        silence = self.one(Silence.objects.select_related("tenant"), id)
        silence = silences.end_silence(silence, self.by, expected_version=self.if_match)
        return with_etag(request, bodies.SilenceResource.of(silence).wire(), silence.version)
