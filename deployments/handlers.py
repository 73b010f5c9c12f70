"""What this app does on events, its own and others', and on the demo's creation."""

from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.dispatch import receiver
from django.utils import timezone
from django_scopes import scope

from deployments.demo.stacks import offer_demo_stacks
from deployments.models import Deployment
from events.handling import handler
from events.models import Event
from tenants.access import roles_of
from tenants.signals import demo_created


@handler("mail_failed_deployment", types=["deployment_update"])
def mail_failed_deployment(event: Event, seq: int) -> None:
    """Who asked for a deployment that failed gets one e-mail, if they still belong to the tenant.

    Called again for the same event it sends nothing, unless it was killed between sending and keeping that it had.
    """
    if event.payload["status"] != "failed" or event.tenant is None:
        return
    with scope(tenant=event.tenant):
        deployment = Deployment.objects.select_related("requested_by").get(pk=event.payload["deploymentId"])
        person = deployment.requested_by
        if person is None or deployment.failure_mailed_at or event.tenant_id not in roles_of(person):
            return
        send_mail(f"Failed · {deployment.title}", _words(deployment, event.tenant.slug), None, [person.email])
        Deployment.objects.filter(pk=deployment.pk).update(failure_mailed_at=timezone.now())


def _words(deployment: Deployment, slug: str) -> str:
    return (
        f"{deployment.title} failed. {deployment.reason}\n\n"
        "The running release was not touched. See its log and retry it here:\n"
        f"{settings.SITE_URL}/t/{slug}/deployments/{deployment.number}/\n"
    )


@receiver(demo_created)
def add_demo_stacks(people: dict[str, Any], **_: object) -> None:
    offer_demo_stacks(by=people["admin"])
