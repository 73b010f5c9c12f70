"""Why can or can't somebody see a channel? The answer of `authorize`, with all that it was made from.

Everything asked stands in the address, so that an answer can be shown to somebody else.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts.models import User
from deployments.rows import id_in
from events import channels
from events.channels import Channel, InvalidChannel, Topic
from portal.ops.tenant_filter import CANDIDATES_SHOWN, TEXT_MAX, find
from realtime.models import Action, Holder
from realtime.policies import SCOPES, Decision, Standing, authorize
from tenants.access import PlatformRequest, memberships_of, platform_page
from tenants.models import ApiKey, Membership, Role, Tenant

#: Of the people whose name holds what was typed.
PEOPLE_SHOWN = 10
#: A deployment's own channel is allowed or not whichever deployment it is.
ANY_DEPLOYMENT = UUID(int=0)
Somebody = User | ApiKey


class Several(forms.ValidationError):
    """More than one person fits; `people` are some of them."""

    def __init__(self, people: list[User]) -> None:
        super().__init__("More than one person fits. Choose one below, or give the whole e-mail.")
        self.people = people


class AccessForm(forms.Form):
    who = forms.CharField(
        label="Person or API key", max_length=254, help_text="An e-mail, part of a name, or the prefix of a key."
    )
    action = forms.ChoiceField(label="Wants to", choices=Action.choices)
    channel = forms.CharField(
        label="Channel", required=False, max_length=200, help_text="Its whole name; or choose a tenant and what of it."
    )
    tenant = forms.CharField(
        label="Tenant",
        required=False,
        max_length=TEXT_MAX,
        help_text="Its name or address.",
        widget=forms.TextInput(
            attrs={"list": "tenants-found", "autocomplete": "off", "data-suggests": reverse_lazy("ops_jump")}
        ),
    )
    topic = forms.ChoiceField(
        label="What of it", required=False, choices=[("", "All of it"), *((t.value, t.value.title()) for t in Topic)]
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.candidates: list[User] = []

    def clean_who(self) -> Somebody:
        try:
            return somebody(self.cleaned_data["who"])
        except Several as several:
            self.candidates = several.people
            raise

    def clean_channel(self) -> Channel | None:
        if not (name := self.cleaned_data["channel"].strip()):
            return None
        try:
            channel = channels.parse(name)
        except InvalidChannel as invalid:
            raise forms.ValidationError(f"{invalid} Names look like tenant:<id>:dashboard or system:health.") from None
        if channel.tenant_id and not Tenant.objects.filter(pk=channel.tenant_id).exists():
            raise forms.ValidationError("No tenant has the id in this name.")
        return channel

    def clean_tenant(self) -> Tenant | None:
        if not (text := self.cleaned_data["tenant"]):
            return None
        if len(found := find(text)) == 1:
            return found[0]
        if not found:
            raise forms.ValidationError(f"No tenant has “{text}” in its name or address.")
        some = ", ".join(f"{tenant.slug} ({tenant.name})" for tenant in found[:CANDIDATES_SHOWN])
        more = ", and more" if len(found) > CANDIDATES_SHOWN else ""
        raise forms.ValidationError(f"More than one tenant fits. Give the whole address of one: {some}{more}.")

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        tenant, topic = given.get("tenant"), given.get("topic")
        if "channel" in given and not given["channel"]:
            if not tenant:
                self.add_error("channel", "Name a channel here, or choose a tenant below.")
            elif topic:
                given["channel"] = channels.tenant(tenant.id, Topic(topic))
        return given


def somebody(text: str) -> Somebody:
    """The one person or key that is meant. Raises ValidationError, and Several."""
    text = text.strip()
    prefix = text.partition(".")[0]
    if key := ApiKey.objects.filter(prefix=prefix).select_related("tenant").first():
        if text != prefix:
            raise forms.ValidationError("Give the part before the dot only: a secret must not stand in an address.")
        return key
    exact = Q(email__iexact=text) | (Q(pk=pk) if (pk := id_in(text)) else Q())
    if person := User.objects.filter(exact).first():
        return person
    people = list(
        User.objects.filter(Q(email__icontains=text) | Q(name__icontains=text)).order_by("email")[:PEOPLE_SHOWN]
    )
    if not people:
        raise forms.ValidationError("Nobody has this e-mail or name, and no API key has this prefix.")
    if len(people) > 1:
        raise Several(people)
    return people[0]


@require_GET
@platform_page
@never_cache
def ops_access(request: PlatformRequest) -> HttpResponse:
    live = request.live.follow()
    is_asked = "who" in request.GET
    form = AccessForm(request.GET) if is_asked else AccessForm()
    context: dict[str, Any] = {"section": "ops_access", "live": live, "form": form}
    if is_asked and form.is_valid():
        context |= _answer(**form.cleaned_data)
    elif form.candidates:
        context["candidates"] = [(person, _again(request, who=person.email)) for person in form.candidates]
    return render(request, "portal/ops/access.html", context)


def _again(request: PlatformRequest, **changed: str) -> str:
    return f"?{urlencode(request.GET.dict() | changed)}"


def _answer(who: Somebody, action: str, channel: Channel | None, tenant: Tenant | None, topic: str) -> dict[str, Any]:
    standing = Standing(who)
    if channel and channel.tenant_id:
        tenant = Tenant.objects.get(pk=channel.tenant_id)
    context: dict[str, Any] = {
        "who": who,
        "person": who if isinstance(who, User) else None,
        "key": who if isinstance(who, ApiKey) else None,
        "memberships": memberships_of(who) if isinstance(who, User) and who.is_active else [],
        "asked_tenant": tenant,
        "matrix": list(matrix(who, tenant, standing)) if tenant else [],
    }
    if channel:
        decision = authorize(who, Action(action), channel, standing)
        changes = list(what_would_change_it(who, Action(action), channel, tenant, standing, decision))
        context |= {"decision": decision, "channel": channel, "action": Action(action), "changes": changes}
    return context


# --- Everything of one tenant -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cell:
    decision: Decision
    address: str


def matrix(who: Somebody, tenant: Tenant, standing: Standing) -> Iterator[tuple[str, list[Cell]]]:
    """Each of the tenant's channels with what may be done with it. Costs no query more than one decision does."""
    named = who.email if isinstance(who, User) else who.prefix
    each = [channels.tenant(tenant.id, topic) for topic in Topic] + [channels.deployment(tenant.id, ANY_DEPLOYMENT)]
    for channel in each:
        decisions = {action: authorize(who, action, channel, standing) for action in Action}
        cells = [
            Cell(decision, f"?{urlencode({'who': named, 'action': action.value, 'channel': channel.name})}")
            for action, decision in decisions.items()
        ]
        yield _short(channel), cells


def _short(channel: Channel) -> str:
    return "deployments: log of one" if channel.object_id is not None else channel.name.rpartition(":")[2]


# --- What would change it ---------------------------------------------------------------------------------------------


def what_would_change_it(
    who: Somebody, action: Action, channel: Channel, tenant: Tenant | None, standing: Standing, decision: Decision
) -> Iterator[str]:
    """Sentences, each of which alone would turn the decision, as far as the policies of now go."""
    if decision.allowed:
        yield f"Without the policy “{decision.rule}” it would end, and when {who} is no longer what it names."
        return
    if isinstance(who, ApiKey):
        yield from _for_a_key(who, action, channel, tenant)
    elif not who.is_active:
        yield "Enabling the account, if its roles suffice then."
        return
    elif channel.user_id not in (None, who.id):
        yield "Nothing: it is another person's own."
        return
    yield from _for_a_person(action, channel, tenant, standing, who)


def _for_a_key(key: ApiKey, action: Action, channel: Channel, tenant: Tenant | None) -> Iterator[str]:
    if key.revoked or key.has_expired:
        yield "Nothing can bring this key back: a new one, with its scopes."
    if channel.tenant_id != key.tenant_id:
        yield f"Nothing: this key is for {key.tenant} alone."
    elif key.tenant.is_suspended:
        yield f"Resuming {key.tenant}."
    if not key.allows(SCOPES[action]):
        yield f"A key with the scope {SCOPES[action]}: this one was made without."


def _for_a_person(
    action: Action, channel: Channel, tenant: Tenant | None, standing: Standing, who: Somebody
) -> Iterator[str]:
    template = channels.templates()[channel.kind]
    rules = {holder: rule for holder in Holder if (rule := standing.rule_for(holder, action, template))}
    if isinstance(who, ApiKey):
        if Holder.SERVICE not in rules:
            yield f"A policy that lets a service {action} {template}: there is none."
        return
    if tenant and tenant.is_suspended and _held(who, tenant):
        yield f"Resuming {tenant}: while it is suspended, nobody's role in it counts."
    for holder, rule in rules.items():
        if sentence := _as_holder(holder, tenant):
            yield f"{sentence}: {holder.value} may {action} {rule}."
    if not rules.keys() - {Holder.SERVICE}:
        yield f"A policy that lets somebody {action} {template}: there is none."


def _held(person: User, tenant: Tenant) -> Membership | None:
    return memberships_of(person).filter(tenant=tenant).first()


def _as_holder(holder: Holder, tenant: Tenant | None) -> str:
    if holder == Holder.ADMIN:
        return "Being a platform admin"
    if holder in (Holder.TENANT_ADMIN, Holder.TENANT_USER):
        return f"Being {Role(holder).label} of {tenant or 'any tenant'}"
    return ""
