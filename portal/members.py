"""Who has access to a tenant: invite, change a role, remove and undo it. Its admins' page."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core import signing
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.actions import Refused
from accounts.models import Invitation, User
from deployments.rows import number_in
from deployments.views import PageRequest
from events import channels
from events.channels import Topic
from portal.changed import Difference, not_done
from tenants import actions
from tenants.access import tenant_page
from tenants.models import Membership, Role, Tenant

PAGE_SIZE = 50
#: A password that can't be used starts so: nobody has set one yet. See django.contrib.auth.hashers.
NO_PASSWORD = "!"  # noqa: S105
UNDO_SALT = "portal.members.undo"


# --- The list ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Member:
    """A row: a membership, and the newest mail about it."""

    membership: Membership
    invitation: Invitation | None
    is_self: bool

    @property
    def is_invited(self) -> bool:
        return not self.membership.user.has_usable_password()

    @property
    def is_unreached(self) -> bool:
        """The mail did not leave: whoever has a password can sign in all the same, but was not told."""
        return bool(self.invitation and self.invitation.error)

    @property
    def can_send_again(self) -> bool:
        return self.membership.user.is_active and (self.is_invited or self.is_unreached)

    @property
    def other_role(self) -> Role:
        return Role.TENANT_USER if self.membership.role == Role.TENANT_ADMIN else Role.TENANT_ADMIN


@dataclass(frozen=True, slots=True)
class Filters:
    """What the address asks for. An unknown value counts as not given."""

    show: str = "all"
    query: str = ""

    def apply(self, memberships: QuerySet[Membership]) -> QuerySet[Membership]:
        if self.show == "admins":
            memberships = memberships.filter(role=Role.TENANT_ADMIN)
        elif self.show == "invited":
            memberships = memberships.filter(user__password__startswith=NO_PASSWORD)
        if self.query:
            memberships = memberships.filter(Q(user__name__icontains=self.query) | Q(user__email__icontains=self.query))
        return memberships

    def address(self, **changed: str) -> str:
        wanted = {"show": self.show, "q": self.query, **changed}
        return "?" + urlencode({name: value for name, value in wanted.items() if value and value != "all"})


SHOWN = ("all", "admins", "invited")


def filters_of(request: PageRequest) -> Filters:
    show, query = request.GET.get("show", ""), request.GET.get("q", "").replace("\x00", "")
    return Filters(show if show in SHOWN else "all", query.strip()[:100])


@require_GET
@tenant_page(role=Role.TENANT_ADMIN)
@never_cache
def members(request: PageRequest) -> HttpResponse:
    activity = channels.tenant(request.tenant.id, Topic.ACTIVITY)
    live = request.live.follow(activity)
    filters = filters_of(request)
    found = _page(filters.apply(_memberships(request.tenant)), number_in(request.GET.get("after")))
    shown, more = found[:PAGE_SIZE], len(found) > PAGE_SIZE
    context = {
        "section": "members",
        "live": live,
        "activity": activity,
        "as_of": timezone.now(),
        "members": _with_invitations(shown, request),
        "filters": filters,
        "tabs": [(name, name.capitalize(), filters.address(show=name)) for name in SHOWN],
        "clear": filters.address(q=""),
        "first": filters.address(),
        "next": filters.address(after=str(shown[-1].pk)) if more else None,
        "is_first": "after" not in request.GET,
        "undo": _undo_offered(request),
        "undo_seconds": settings.UNDO_SHOWN_SECONDS,
    }
    return render(request, "portal/members/list.html", context)


def _memberships(tenant: Tenant) -> QuerySet[Membership]:
    return Membership.objects.filter(tenant=tenant).select_related("user").order_by("user__name", "pk")


def _page(memberships: QuerySet[Membership], after: int | None) -> list[Membership]:
    """A page and one more, by name, from behind the membership `after`; from the start if that one has ended."""
    last = memberships.filter(pk=after).first() if after else None
    if last:
        name = last.user.name
        memberships = memberships.filter(Q(user__name__gt=name) | Q(user__name=name, pk__gt=last.pk))
    return list(memberships[: PAGE_SIZE + 1])


def _with_invitations(memberships: list[Membership], request: PageRequest) -> list[Member]:
    people = [membership.user_id for membership in memberships]
    # Oldest first, so that the newest of a person stays.
    mails = Invitation.objects.filter(tenant_id=request.tenant.id, user__in=people).order_by("pk")
    newest = {mail.user_id: mail for mail in mails}
    return [Member(one, newest.get(one.user_id), one.user_id == request.user.pk) for one in memberships]


# --- Inviting ---------------------------------------------------------------------------------------------------------


class InviteForm(forms.Form):
    email = forms.EmailField(label="E-mail address", widget=forms.EmailInput(attrs={"autocomplete": "off"}))
    name = forms.CharField(
        label="Name", required=False, max_length=150, help_text="For somebody who has no account here yet."
    )
    role = forms.ChoiceField(
        choices=Role.choices,
        initial=Role.TENANT_USER,
        help_text="A tenant user sees what is deployed and how it goes. A tenant admin also deploys, reads logs, and "
        "manages people, keys and settings.",
    )


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page(role=Role.TENANT_ADMIN)
@never_cache
def invite(request: PageRequest) -> HttpResponse:
    live = request.live.follow()
    form = InviteForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        wanted = form.cleaned_data
        try:
            added = actions.add_member(
                request.tenant, wanted["email"], Role(wanted["role"]), request.user, name=wanted["name"]
            )
        except (Refused, ValidationError) as refused:
            form.add_error("email", refused.messages if isinstance(refused, ValidationError) else str(refused))
        else:
            _say_what_left(request, added)
            return redirect("members", request.tenant.slug)
    return render(request, "portal/members/invite.html", {"section": "members", "live": live, "form": form})


@require_POST
@tenant_page(role=Role.TENANT_ADMIN)
def invite_again(request: PageRequest, membership: int) -> HttpResponse:
    try:
        member = _memberships(request.tenant).get(pk=membership)
        actions.send_invitation_again(member, by=request.user)
    except (Refused, Membership.DoesNotExist) as refused:
        return _refused(request, refused)
    _say_what_left(request, member)
    return redirect("members", request.tenant.slug)


def _say_what_left(request: PageRequest, member: Membership) -> None:
    """The mail left with the action's commit, or the invitation says why it did not."""
    mail = Invitation.objects.filter(user=member.user_id, tenant_id=request.tenant.id).first()
    if mail and mail.error:
        text = f"{member.user} is a member of {request.tenant}, but the mail could not be sent: {mail.error}"
        messages.error(request, f"{text}. Send it again once that is mended.")
    else:
        messages.success(request, f"{member.user} was told by mail to {member.user.email}.")


# --- Roles, removal, undo ---------------------------------------------------------------------------------------------


@require_POST
@tenant_page(role=Role.TENANT_ADMIN)
def change_role(request: PageRequest, membership: int) -> HttpResponse:
    role = request.POST.get("role", "")
    if role not in Role.values:
        raise Http404
    try:
        member = _memberships(request.tenant).get(pk=membership)
        actions.change_role(member, Role(role), request.user, expected_version=_seen_version(request))
    except (Refused, Membership.DoesNotExist) as refused:
        return _refused(request, refused)
    if member.user_id == request.user.pk and role != Role.TENANT_ADMIN:
        return redirect("tenant_home", request.tenant.slug)
    messages.success(request, f"{member.user} is a {Role(role).label.lower()} now.")
    return redirect("members", request.tenant.slug)


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page(role=Role.TENANT_ADMIN)
@never_cache
def remove(request: PageRequest, membership: int) -> HttpResponse:
    """Takes effect at once, and offers to undo it. Nobody can undo their own leaving: GET says so first."""
    if request.method != "POST":
        live = request.live.follow()
        member = _memberships(request.tenant).filter(pk=membership).first()
        if member is None:
            raise Http404
        return render(request, "portal/members/remove.html", {"section": "members", "live": live, "member": member})
    try:
        member = _memberships(request.tenant).get(pk=membership)
        actions.remove_member(member, request.user, expected_version=_seen_version(request))
    except (Refused, Membership.DoesNotExist) as refused:
        return _refused(request, refused)
    if member.user_id == request.user.pk:
        messages.success(request, f"You left {request.tenant}.")
        return redirect("home")
    return redirect(f"{_address(request)}?{urlencode({'undo': _undo_token(request, member)})}")


@require_POST
@tenant_page(role=Role.TENANT_ADMIN)
def undo_removal(request: PageRequest) -> HttpResponse:
    """Make who was just removed a member again, with the same role; the admin who did it may, for a short time."""
    removed = _removed(request, request.POST.get("undo", ""), settings.UNDO_TAKEN_SECONDS)
    if removed is None:
        reason = "It is too late to undo that. Nothing was changed: they can be invited again."
        return not_done(request, "members", reason, _address(request))
    person, role = removed
    try:
        actions.join(request.tenant, person, role, by=request.user)
    except Refused as refused:
        return not_done(request, "members", str(refused), _address(request))
    messages.success(request, f"{person} is a {role.label.lower()} of {request.tenant} again.")
    return redirect("members", request.tenant.slug)


def _undo_token(request: PageRequest, member: Membership) -> str:
    facts = [str(request.tenant.id), str(request.user.pk), str(member.user_id), member.role]
    return signing.dumps(facts, salt=UNDO_SALT)


def _removed(request: PageRequest, token: str, max_age_seconds: int) -> tuple[User, Role] | None:
    """Whom this admin removed from this tenant, and their role. None for what is too old or was not ours."""
    try:
        tenant, by, person, role = signing.loads(token, salt=UNDO_SALT, max_age=max_age_seconds)
    except signing.BadSignature:
        return None
    if (tenant, by) != (str(request.tenant.id), str(request.user.pk)):
        return None
    user = User.objects.filter(pk=person).first()
    return (user, Role(role)) if user else None


def _undo_offered(request: PageRequest) -> dict[str, Any] | None:
    token = request.GET.get("undo", "")
    removed = _removed(request, token, settings.UNDO_SHOWN_SECONDS) if token else None
    return {"token": token, "person": removed[0], "role": removed[1]} if removed else None


def _seen_version(request: PageRequest) -> int | None:
    return number_in(request.POST.get("version"))


def _address(request: PageRequest) -> str:
    return reverse("members", args=[request.tenant.slug])


def _refused(request: PageRequest, why: Exception) -> HttpResponse:
    """409: the last admin, a role that somebody else has changed, or a membership that has ended.

    A membership of another tenant gets the same answer as one that never was.
    """
    if isinstance(why, Membership.DoesNotExist):
        reason = f"That person is no longer a member of {request.tenant}. Nothing was changed now."
        return not_done(request, "members", reason, _address(request))
    differences: tuple[Difference, ...] = ()
    if isinstance(why, actions.StaleVersion) and isinstance(why.now, Membership):
        seen = dict(Role.choices).get(request.POST.get("seen_role", ""), "")
        differences = (Difference("Role", seen, Role(why.now.role).label),)
    return not_done(request, "members", str(why), _address(request), differences)
