"""The tenant scope of a model's queries, with its type, in one place.

Every tenant-owned model has a `tenant`. Outside a scope its queries raise `django_scopes.exceptions.ScopeError`; inside
`scope(tenant=...)` they see that tenant's rows only.
"""

from typing import TYPE_CHECKING, Self, TypeVar

from django.db import models
from django_scopes import ScopedManager

M = TypeVar("M", bound=models.Model, covariant=True)

if TYPE_CHECKING:

    class TenantManager(models.Manager[M]):
        """Declare it as `objects: ClassVar[TenantManager["Deployment"]] = TenantManager()`."""

        def with_scopes_disabled(self) -> Self:
            """The rows of all tenants: for what is the platform's own, and for finding out whose a thing is."""

else:

    class TenantManager(type(ScopedManager(tenant="tenant"))):
        """A name for the class that django-scopes makes at run time, which no type checker can see."""
