import json
from collections.abc import Iterator
from typing import Any

from django import forms
from django.forms import BoundField

from notifications.kinds import CHOSEN, About, InApp, Kind, Pace, Way
from notifications.models import Habits, Level
from notifications.preferences import CHOICES, Choice
from tenants.models import validate_time_zone


class NoticeForm(forms.Form):
    """What to tell everybody in a tenant. `notice_id` is made with the form, so that sending it twice sends it once."""

    title = forms.CharField(max_length=150)
    message = forms.CharField(
        max_length=2000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="Everybody in the company sees it at once and finds it in their inbox.",
    )
    level = forms.ChoiceField(choices=Level.choices)
    notice_id = forms.UUIDField(widget=forms.HiddenInput)


#: The fields of the form that are columns of a person's habits.
HABITS = ["time_zone", "digest_at", "quiet_from", "quiet_until", "urgent_anyway"]


def _clock(**options: Any) -> forms.TimeField:
    widget = forms.TimeInput(attrs={"type": "time"}, format="%H:%M")
    return forms.TimeField(widget=widget, input_formats=["%H:%M", "%H:%M:%S"], **options)


class PreferencesForm(forms.Form):
    """A person's preferences. `seen` is what the page showed: only what differs from it is changed, so that an old tab
    takes back nothing that was chosen elsewhere, by an unsubscribe link for one.
    """

    time_zone = forms.CharField(
        label="Time zone",
        max_length=64,
        validators=[validate_time_zone],
        help_text="Your quiet hours and the daily digest go by its clock. Until you choose one, it is your first "
        "company's. Type a part of it to find it.",
        widget=forms.TextInput(attrs={"list": "time-zones", "autocomplete": "off"}),
    )
    digest_at = _clock(label="Daily digest at")
    quiet_from = _clock(label="Quiet from", required=False)
    quiet_until = _clock(label="Quiet until", required=False)
    urgent_anyway = forms.BooleanField(label="Critical alerts come anyway", required=False)
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, chosen: dict[Choice, str], habits: Habits, data: Any = None) -> None:
        now = {_field(kind, way): choice for (kind, way), choice in chosen.items()} | _plain(habits)
        super().__init__(data, initial=now | {"seen": json.dumps(now)})
        for kind in CHOSEN:
            self.fields[_field(kind.name, Way.IN_APP)] = forms.ChoiceField(
                label=f"{kind.title}: in app", choices=InApp.choices
            )
            self.fields[_field(kind.name, Way.EMAIL)] = forms.ChoiceField(
                label=f"{kind.title}: e-mail", choices=Pace.choices
            )

    def groups(self) -> Iterator[tuple[str, list[tuple[Kind, BoundField, BoundField]]]]:
        """Each heading, with its kinds and their two fields."""
        for about in About:
            kinds = [kind for kind in CHOSEN if kind.about == about]
            yield (
                about.label,
                [(kind, self[_field(kind.name, Way.IN_APP)], self[_field(kind.name, Way.EMAIL)]) for kind in kinds],
            )

    def choices(self) -> dict[Choice, str]:
        """What the person chose otherwise than it was when they opened the page."""
        seen = self._seen()
        posted = {(kind.name, way): self.cleaned_data[_field(kind.name, way)] for kind in CHOSEN for way in CHOICES}
        return {choice: value for choice, value in posted.items() if seen.get(_field(*choice)) != value}

    def habits(self) -> dict[str, Any]:
        seen, plain = self._seen(), _plain(Habits(**{name: self.cleaned_data[name] for name in HABITS}))
        return {name: self.cleaned_data[name] for name in HABITS if seen.get(name) != plain[name]}

    def _seen(self) -> dict[str, Any]:
        """What the page said it showed; nothing where that can't be read: then all of the form counts."""
        try:
            found = json.loads(self.cleaned_data["seen"])
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def _field(kind: str, way: str) -> str:
    return f"{kind}_{way}"


def _plain(habits: Habits) -> dict[str, Any]:
    """As the form's fields show them."""
    values = {name: getattr(habits, name) for name in HABITS}
    return {name: f"{value:%H:%M}" if hasattr(value, "hour") else value for name, value in values.items()}
