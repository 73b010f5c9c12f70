"""What the pattern of a channel policy stands for.

A pattern is a channel's template (`tenant:{tenant_id}:dashboard`), or the beginning of some templates up to a colon and
then `*`. It stands for *kinds* of channels. Whose channels they are is decided from who asks (`realtime.policies`): no
pattern, however it got into the database, gives one tenant's people another tenant's channels.
"""

import re

from events import channels

#: The owners that a role's patterns may name: a tenant in which the role is held, the person who holds it.
OWNERS = {
    "admin": frozenset[str](),
    "tenant_admin": frozenset({"tenant_id", "user_id"}),
    "tenant_user": frozenset({"tenant_id", "user_id"}),
    "service": frozenset({"tenant_id"}),
    "everyone": frozenset({"user_id"}),
}


class InvalidPattern(ValueError):
    """The pattern stands for no channel, or for more than this role may be given. The text says which."""


def matches(pattern: str, template: str) -> bool:
    """Whether a pattern stands for the channels that this template makes."""
    if pattern.endswith(":*"):
        return template.startswith(pattern[:-1])
    return template == pattern


def kinds(pattern: str) -> frozenset[str]:
    """The kinds of channel (keys of `events.channels.templates`) that a pattern stands for."""
    return frozenset(kind for kind, template in channels.templates().items() if matches(pattern, template))


def check(role: str, pattern: str) -> None:
    """Raise InvalidPattern unless this role may be given this pattern."""
    covered = [channels.templates()[kind] for kind in kinds(pattern)]
    if not covered:
        raise InvalidPattern(
            "No channel is called that. Write a channel's template, such as tenant:{tenant_id}:dashboard, or its "
            "beginning up to a colon and then *, such as tenant:{tenant_id}:*."
        )
    if foreign := _owners(pattern) - OWNERS[role]:
        raise InvalidPattern(f"The role {role} has no {{{min(foreign)}}}.")
    if role == "admin":
        return
    if pattern.startswith("admin:"):
        raise InvalidPattern("The admin channels are for platform admins only.")
    for template in covered:
        if unnamed := _owners(template) - _owners(pattern):
            raise InvalidPattern(
                f"This would give the role {role} everybody's {template}. Name whose: {{{min(unnamed)}}}."
            )


def _owners(text: str) -> set[str]:
    return set(re.findall(r"\{(tenant_id|user_id)\}", text))
