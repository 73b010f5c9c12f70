"""What each part of the platform is for, in the words of whoever has to mend it: what stands still, and what to do."""

from dataclasses import dataclass

from django.conf import settings

from events.cursors import PUSH

HANDLER_PREFIX = "handler:"


@dataclass(frozen=True, slots=True)
class Guide:
    """`meaning`: what people notice while the part is away. `command` starts it; `remedy` is for where none does."""

    title: str
    meaning: str
    command: str = ""
    advice: str = ""

    @property
    def remedy(self) -> str:
        """What to do, in one sentence."""
        return f"Start `{self.command}`." if self.command else self.advice


_CELERY = "celery --app neostack"
_ENGINE_COMMANDS = {
    "embedded": "",  # it is in the web processes themselves
    "process": "python -m engine -c .local/engine.json",
    "centrifugo": "centrifugo -c .local/engine.json",
}
_GUIDES = {
    "database": Guide("Database", "No page can be opened.", advice="Look at the database server and DATABASE_URL."),
    "redis": Guide(
        "Redis",
        "Notifications and mails come late. Once access is taken from somebody, open pages hear of nothing more.",
        advice="Look at the Redis server and REDIS_URL.",
    ),
    "relay": Guide("Relay", "Open pages hear of things late. Nothing is lost.", "manage.py relay"),
    "runner": Guide("Runner", "Deployments wait in their queues.", "manage.py runner"),
    "worker": Guide("Worker", "Notifications and mails wait. Nothing is lost.", f"{_CELERY} worker"),
    "beat": Guide("Beat", "Schedules stand still; the relay still wakes the handlers.", f"{_CELERY} beat"),
    "pulse": Guide("Pulse", "Figures come late, and this page asks instead of being told.", "manage.py pulse"),
    PUSH: Guide("Push", "Open pages hear of things late.", advice="It goes on when the relay and the engine are back."),
    "dead_letters": Guide("Dead letters", "What they report has not arrived.", advice="Look at what failed, and why."),
}


def guide_to(name: str) -> Guide:
    """The guide to the part of this name; every handler has the same, under its own title."""
    if name == "engine":
        command = _ENGINE_COMMANDS.get(settings.ENGINE, "")
        advice = "It is part of the web processes: look at their logs."
        return Guide("Engine", "Pages open, but ask every 30 s instead of being live.", command, advice)
    if name.startswith(HANDLER_PREFIX):
        title = name.removeprefix(HANDLER_PREFIX).replace("_", " ").capitalize()
        return Guide(title, "What it does after an event comes late.", advice="See its last error below.")
    return _GUIDES[name]
