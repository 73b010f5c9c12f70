"""409: what was asked for can't be done to what is there now. One page says so, with the difference."""

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


@dataclass(frozen=True, slots=True)
class Difference:
    what: str
    seen: str
    now: str

    @property
    def differs(self) -> bool:
        return self.seen != self.now


def not_done(
    request: HttpRequest, section: str, reason: str, back: str, differences: tuple[Difference, ...] = ()
) -> HttpResponse:
    """`back` is the address of the page that shows how it is now."""
    context = {"section": section, "reason": reason, "back": back, "differences": differences}
    return render(request, "portal/not_done.html", context, status=409)
