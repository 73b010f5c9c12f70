"""Who may listen to a channel or publish on it: `authorize` is the one function that decides.

The token endpoint, the publish API, the feed, pages and tests all call it. What no `ChannelPolicy` allows is denied.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from accounts.models import User
from events.channels import Channel, templates
from realtime import patterns
from realtime.models import Action, ChannelPolicy, Holder
from tenants.access import Principal, admins_of, memberships_of
from tenants.models import ApiKey, Membership, Role

#: What a service's key must be allowed besides the policy: to listen is, for a service, to read the feed.
SCOPES = {Action.SUBSCRIBE: "events:read", Action.PUBLISH: "events:publish"}


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer. `rule` is the policy that allowed it, or says that none did; `reason` is for the person who asked."""

    allowed: bool
    rule: str
    reason: str = ""


class Standing:
    """What somebody is, and what the policies say: read once, in two queries, for all decisions of one request.

    What takes access away raises the person's generation. So that no token of the new generation is made from what was
    read before it: read the person, and with them their generation, first, and only then their standing.
    """

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self._patterns: dict[tuple[str, str], list[str]] = defaultdict(list)
        for role, action, pattern in ChannelPolicy.objects.values_list("role", "action", "pattern"):
            self._patterns[role, action].append(pattern)
        self._admin_names: dict[UUID, str] = {}

    @cached_property
    def memberships(self) -> Mapping[UUID, Membership]:
        """By the tenant's id; none of a suspended tenant, none of a disabled person."""
        return {id: membership for id, membership in self._held.items() if not membership.tenant.is_suspended}

    @cached_property
    def _held(self) -> Mapping[UUID, Membership]:
        """Those of suspended tenants too: they give no access."""
        return {m.tenant_id: m for m in memberships_of(self.principal)} if isinstance(self.principal, User) else {}

    def why_no_member(self, tenant_id: UUID) -> str:
        """Why somebody without access is not let in. Who never belonged to a tenant does not learn its name."""
        if membership := self._held.get(tenant_id):
            return f"{membership.tenant} is suspended."
        return "You are not a member of this tenant."

    def rule_for(self, holder: Holder, action: Action, template: str) -> str | None:
        """The pattern that gives this holder the channels of a template; the most exact one if there are several."""
        fitting = (p for p in self._patterns.get((holder, action), ()) if patterns.matches(p, template))
        return max(fitting, key=len, default=None)

    def who_can_grant(self, membership: Membership) -> str:
        """Who can give this member more: the tenant's admins by name, or the platform's for such an admin."""
        if membership.role == Role.TENANT_ADMIN:
            return "A platform admin"
        tenant = membership.tenant
        if tenant.id not in self._admin_names:
            self._admin_names[tenant.id] = " or ".join(str(admin) for admin in admins_of(tenant)[:3])
        return self._admin_names[tenant.id] or "A platform admin"


def authorize(principal: Principal, action: Action, channel: Channel, standing: Standing | None = None) -> Decision:
    """Whether this person or service may do this with this channel now.

    `standing` saves the queries when one request asks about many channels; it must be this principal's own.
    """
    standing = standing or Standing(principal)
    if standing.principal is not principal:
        raise ValueError("This standing is somebody else's.")
    template = templates()[channel.kind]
    holders = _holders(channel, standing)
    for holder in holders:
        if pattern := standing.rule_for(holder, action, template):
            return _with_scope(principal, action, rule=f"{holder} may {action} {pattern}")
    missing = f"no policy lets {' or '.join(holders) or 'this caller'} {action} {template}"
    return Decision(False, missing, _reason(action, channel, standing))


def _holders(channel: Channel, standing: Standing) -> list[Holder]:
    """As what a principal may ask for this channel. Here, and only here, it is decided whose a channel is.

    Platform admins ask for any channel but another person's own; members and keys for their tenant's; a person for what
    is their own. A role in any tenant counts for a channel that belongs to nobody.
    """
    principal = standing.principal
    if isinstance(principal, ApiKey):
        return [Holder.SERVICE] if _is_alive(principal) and channel.tenant_id == principal.tenant_id else []
    if not isinstance(principal, User) or not principal.is_active or channel.user_id not in (None, principal.id):
        return []
    platform = [Holder.ADMIN] if principal.is_platform_admin else []
    if channel.tenant_id:
        membership = standing.memberships.get(channel.tenant_id)
        return [*platform, Holder(membership.role)] if membership else platform
    roles = sorted({membership.role for membership in standing.memberships.values()})
    return [*platform, *map(Holder, roles), Holder.EVERYONE]


def _is_alive(key: ApiKey) -> bool:
    return not (key.revoked or key.has_expired or key.tenant.is_suspended)


def _with_scope(principal: Principal, action: Action, rule: str) -> Decision:
    scope = SCOPES[action]
    if isinstance(principal, ApiKey) and not principal.allows(scope):
        return Decision(False, f"{rule}, with the scope {scope}", f"This API key lacks the scope {scope}.")
    return Decision(True, rule)


# --- In words ---------------------------------------------------------------------------------------------------------

_CONTENT = {
    "tenant_dashboard": "figures",
    "tenant_notifications": "notices",
    "tenant_billing": "billing",
    "tenant_deployments": "deployments",
    "tenant_monitoring": "alerts",
    "tenant_activity": "activity",
    "deployment": "logs",
}
_VERBS = {Action.SUBSCRIBE: "see", Action.PUBLISH: "publish"}


def _reason(action: Action, channel: Channel, standing: Standing) -> str:
    """Why not, and who can change it. The same for another tenant's channel as for one that never existed."""
    principal = standing.principal
    if isinstance(principal, ApiKey):
        return "This API key is for its own tenant's channels only, while it is valid."
    if not isinstance(principal, User):
        return "You are not signed in."
    if not principal.is_active:
        return "This account is disabled. A platform admin can enable it."
    if channel.tenant_id:
        return _tenant_reason(action, channel, channel.tenant_id, standing)
    if channel.user_id not in (None, principal.id):
        return "This belongs to somebody else."
    return f"You can't {_VERBS[action]} this: it is for platform admins."


def _tenant_reason(action: Action, channel: Channel, tenant_id: UUID, standing: Standing) -> str:
    membership = standing.memberships.get(tenant_id)
    if membership is None:
        return standing.why_no_member(tenant_id)
    what = f"{_VERBS[action]} {_CONTENT[channel.kind]}"
    return f"Your role in {membership.tenant} can't {what}. {standing.who_can_grant(membership)} can change that."
