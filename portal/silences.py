"""Silences: which there are, and a new one by matchers. Whoever makes it sees what it would silence before it does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from monitoring.alerting import silences
from monitoring.alerting.models import Silence
from portal import alerts
from portal.alert_acts import Place, undo_token
from portal.alert_forms import MatchersForm

PREVIEWED = 20


@dataclass(frozen=True, slots=True)
class SilenceRow:
    silence: Silence
    end_url: str

    @property
    def matched(self) -> str:
        return alerts.matchers_words(self.silence)


def listed(place: Place) -> dict[str, Any]:
    """What the panel on both pages of monitoring needs."""
    active = place.silences.filter(ended_at=None).order_by("expires_at")
    rows = [SilenceRow(one, place.end_silence(one.pk)) for one in active]
    return {"silences": rows, "new_silence_url": place.new_silence}


@dataclass(frozen=True, slots=True)
class Preview:
    """The newest open alerts that it would silence now, of `count`."""

    rows: Sequence[alerts.Row]
    count: int

    @property
    def summary(self) -> str:
        if not self.count:
            return "It would silence no alert that is open now"
        return f"It would silence {self.count} alert{'' if self.count == 1 else 's'} now"

    @property
    def beyond(self) -> int:
        return self.count - len(self.rows)


@require_http_methods(["GET", "HEAD", "POST"])
def new_silence(request: Any, place: Place) -> HttpResponse:
    """Previewed as often as one likes, then saved; what can't be comes back filled in."""
    live = request.live.follow()
    form = MatchersForm(request.POST or None)
    shown = None
    try:
        if request.POST.get("do") == "preview":
            shown = _preview(place, form)
        elif form.is_valid():
            return _saved(request, place, form)
    except silences.InvalidSilence as invalid:
        form.add_problem(invalid)
    context = {"section": place.section, "live": live, "form": form, "preview": shown, "back": place.page()}
    return render(request, "portal/monitoring/silence.html", context)


def _preview(place: Place, form: MatchersForm) -> Preview | None:
    matchers = form.matchers_alone()
    if matchers is None:
        return None
    found = silences.would_silence(place.tenant, matchers)
    return Preview([alerts.row(alert, place.alert(alert.pk)) for alert in found[:PREVIEWED]], len(found))


def _saved(request: Any, place: Place, form: MatchersForm) -> HttpResponse:
    given, until = form.cleaned_data, form.until(timezone.now())
    made = silences.create_silence(
        place.tenant,
        given["matchers"],
        given["reason"],
        until,
        request.user,
        ends_on_resolve=given["ends_on_resolve"],
    )
    return redirect(place.page(undo=undo_token(request, place, "silenced", made.pk)))
