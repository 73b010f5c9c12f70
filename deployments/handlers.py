"""What this app does on events, its own and others', and on the demo's creation."""

from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.dispatch import receiver
from django_scopes import scope

from accounts.actions import Refused
from accounts.models import User
from deployments.demo.stacks import offer_demo_stacks
from deployments.models import ENDED, RETRYABLE, Deployment, Status
from events.handling import handler
from events.models import Event
from tenants.access import admins_of, roles_of
from tenants.models import Tenant
from tenants.signals import demo_created, tenant_deleting


@receiver(tenant_deleting)
def refuse_while_something_runs(tenant: Tenant, **_: Any) -> None:
    with scope(tenant=tenant):
        waiting = Deployment.objects.filter(tenant=tenant).exclude(status__in=ENDED).count()
    if waiting:
        what = "1 deployment has" if waiting == 1 else f"{waiting} deployments have"
        raise Refused(f"{what} not ended. Nothing was changed: cancel what runs and waits, then delete {tenant}.")


@handler("mail_failed_deployment", types=["deployment_update"])
def mail_failed_deployment(event: Event, seq: int) -> None:
    """Who asked for a deployment that failed or was lost gets one e-mail, and each of the tenant's admins.

    Called again for the same event it mails nobody again, unless it was killed between sending and keeping that it had.
    Raises what sending raised, when everybody else has been served.
    """
    if event.payload["status"] not in RETRYABLE or event.tenant is None:
        return
    with scope(tenant=event.tenant):
        deployment = Deployment.objects.select_related("requested_by").get(pk=event.payload["deploymentId"])
        failures = [_mail(deployment, person, event.tenant) for person in _concerned(deployment, event.tenant)]
    if failed := next(filter(None, failures), None):
        raise failed


def _concerned(deployment: Deployment, tenant: Tenant) -> list[User]:
    """Who is to be mailed and was not yet: of those who belong to the tenant at this moment."""
    asked = deployment.requested_by
    people = [*admins_of(tenant), *([asked] if asked else [])]
    there = {person.pk: person for person in people if tenant.pk in roles_of(person)}
    return [person for pk, person in there.items() if str(pk) not in deployment.failure_mailed_to]


def _mail(deployment: Deployment, person: User, tenant: Tenant) -> Exception | None:
    """Send it and keep that it was sent; returns why it could not be."""
    subject = f"{deployment.get_status_display()} · {deployment.title}"
    try:
        send_mail(subject, _words(deployment, person, tenant.slug), None, [person.email])
    except OSError as error:  # SMTP's errors are too
        return error
    deployment.failure_mailed_to.append(str(person.pk))
    Deployment.objects.filter(pk=deployment.pk).update(failure_mailed_to=deployment.failure_mailed_to)
    return None


def _words(deployment: Deployment, person: User, slug: str) -> str:
    asked = "You" if deployment.requested_by == person else deployment.requester_name
    ending = "is lost" if deployment.status == Status.LOST else "failed"
    return (
        f"{deployment.title} {ending}. {deployment.reason}\n\n"
        f"{asked} asked for it. The running release was not touched. See its log and retry it here:\n"
        f"{settings.SITE_URL}/t/{slug}/deployments/{deployment.number}/\n"
    )


@receiver(demo_created)
def add_demo_stacks(people: dict[str, Any], **_: object) -> None:
    offer_demo_stacks(by=people["admin"])
