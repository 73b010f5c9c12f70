"""What tests of deployments share: stacks to deploy, and deployments of Alice's."""

import sys
from typing import Any

import pytest
from django_scopes import scope

from deployments import actions
from deployments.models import Deployment, Stack


def make_stack(slug: str, *commands: list[str], parameters: list[dict[str, Any]] | None = None, by: Any) -> Stack:
    """An approved stack whose steps are these argument lists, named step 1, step 2, ..."""
    steps = [{"name": f"step {i}", "command": command} for i, command in enumerate(commands, start=1)]
    stack = Stack.objects.create(slug=slug, name=slug, steps=steps, parameters=parameters or [])
    return actions.approve(stack, by=by)


def python(code: str) -> list[str]:
    """The argument list of a step that runs this Python."""
    return [sys.executable, "-S", "-c", code]


@pytest.fixture
def stack(platform_admin) -> Stack:
    """A stack with a parameter of each type, whose one step prints them."""
    return make_stack(
        "web",
        python("import os; print(dict(os.environ))"),
        parameters=[
            {"name": "TITLE", "required": True, "max": 20},
            {"name": "PAGES", "type": "integer", "default": 3, "min": 1, "max": 10},
            {"name": "DRAFTS", "type": "boolean"},
            {"name": "THEME", "type": "choice", "choices": ["light", "dark"], "default": "light"},
            {"name": "TOKEN", "type": "secret"},
        ],
        by=platform_admin.user,
    )


@pytest.fixture
def acme_deployment(acme, alice, stack) -> Deployment:
    return actions.request_deployment(acme, stack, {"TITLE": "Acme"}, by=alice.user)


def fresh(deployment: Deployment) -> Deployment:
    with scope(tenant=deployment.tenant):
        return Deployment.objects.get(pk=deployment.pk)
