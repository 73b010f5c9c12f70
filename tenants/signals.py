"""Which change of a tenant becomes which event, and what a tenant has to say to a change of its people."""

from typing import Any

from django.dispatch import Signal, receiver

from events.actors import HasActor
from events.emit import emit
from tenants.events import Change, TenantUpdated
from tenants.models import Tenant

#: A tenant has changed: tenant, change, by, subject.
tenant_changed = Signal()
#: A tenant is about to be deleted, its members are out already: tenant, people (who were its members), by. A receiver
#: takes what the database would not by itself, or refuses by raising: then nothing was changed.
tenant_deleting = Signal()
#: The demo's people and tenants are there: people ({"alice": User}), tenants ({"acme": Tenant}).
demo_created = Signal()


@receiver(tenant_changed)
def say_so(tenant: Tenant, change: Change, by: HasActor | None, subject: str | None = None, **_: Any) -> None:
    emit(TenantUpdated.of(tenant, change, subject), by=by)
