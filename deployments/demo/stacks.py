"""The demo's stacks: real steps, run by the Python that runs this."""

import sys
from pathlib import Path
from typing import Any

from accounts.models import User
from deployments import actions
from deployments.models import Stack

HERE = Path(__file__).resolve().parent


def step(name: str, script: str, *arguments: str, time_limit_seconds: int = 60) -> dict[str, Any]:
    """A step that runs one of the scripts beside this file, its output not held back in a buffer."""
    command = [sys.executable, "-u", "-S", str(HERE / script), *arguments]
    return {"name": name, "command": command, "time_limit_seconds": time_limit_seconds}


STACKS: list[dict[str, Any]] = [
    {
        "slug": "web",
        "name": "Static site",
        "description": "Builds a small web site, serves it on a free local port, checks every page and stops.",
        "steps": [
            step("Prepare", "static_site.py", "prepare"),
            step("Build", "static_site.py", "build", time_limit_seconds=300),
            step("Serve and check", "static_site.py", "check", time_limit_seconds=300),
            step("Pack", "static_site.py", "pack"),
        ],
        "parameters": [
            {"name": "SITE_TITLE", "label": "Site title", "required": True, "default": "Hello from Acme", "max": 80},
            {"name": "PAGES", "label": "Pages", "type": "integer", "default": 12, "min": 1, "max": 200},
            {"name": "THEME", "label": "Theme", "type": "choice", "choices": ["light", "dark"], "default": "light"},
            {"name": "DRAFTS", "label": "Build drafts too", "type": "boolean", "default": False},
            {
                "name": "ANALYTICS_KEY",
                "label": "Analytics key",
                "type": "secret",
                "help": "The build writes it into its log, to show that it is redacted there.",
            },
        ],
    },
    {
        "slug": "broken",
        "name": "Breaks half-way",
        "description": "Its second step fails after some warnings, its third never starts.",
        "steps": [
            step("Compile", "broken.py", "compile"),
            step("Link", "broken.py", "link"),
            step("Publish", "broken.py", "publish"),
        ],
    },
    {
        "slug": "colours",
        "name": "Ten thousand colours",
        "description": "Writes coloured lines as fast as it can.",
        "steps": [step("Paint", "colours.py", time_limit_seconds=300)],
        "parameters": [
            {"name": "LINES", "label": "Lines", "type": "integer", "default": 10_000, "min": 1, "max": 50_000}
        ],
    },
]


def offer_demo_stacks(by: User) -> list[Stack]:
    """Approve the demo's stacks where they are missing; one that differs from what is offered becomes a new version."""
    return [_offer({"parameters": [], **facts}, by) for facts in STACKS]


def _offer(facts: dict[str, Any], by: User) -> Stack:
    newest = Stack.objects.filter(slug=facts["slug"]).order_by("-version").first()
    if newest is None:
        return actions.approve(actions.save_draft(Stack(**facts)), by=by)
    if newest.is_approved:
        if all(getattr(newest, name) == value for name, value in facts.items()):
            return newest
        newest = actions.new_version(newest)
    for name, value in facts.items():
        setattr(newest, name, value)
    return actions.approve(actions.save_draft(newest), by=by)
