"""What the bell in every page's bar shows, read only when a template asks for it."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.models import User
from notifications.reading import Badge, badge


def bell(request: HttpRequest) -> dict[str, Any]:
    return {"bell": SimpleLazyObject(lambda: badge(request.user) if isinstance(request.user, User) else Badge())}
