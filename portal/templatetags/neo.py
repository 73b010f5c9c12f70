"""What templates need to say the same thing the same way everywhere: icons, times, statuses, coloured log lines."""

import json
from datetime import UTC, datetime
from typing import Any

from django import template
from django.forms import BoundField
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from portal import ansi, times

register = template.Library()
CONTROL_CLASSES = {"checkbox": "form-check-input", "select": "form-select"}


@register.simple_tag
def icon(name: str, css: str = "icon") -> SafeString:
    """A picture of includes/icons.html, hidden from screen readers: the word beside it says it."""
    return format_html(
        '<svg class="{}" aria-hidden="true" focusable="false"><use href="#icon-{}"></use></svg>', css, name
    )


@register.simple_tag
def when(moment: datetime | None, field: str = "", zone: str = "UTC") -> SafeString:
    """A relative time whose exact one, in this zone, shows on hover and focus. Empty where nothing happened yet."""
    attribute = format_html(' data-field="{}"', field) if field else ""
    if not moment:
        return format_html("<time{} data-relative></time>", attribute)
    moment = moment.astimezone(UTC)
    return format_html(
        '<time{} data-relative datetime="{}" title="{}">{}</time>',
        attribute,
        iso(moment),
        times.exact(moment, zone),
        times.ago(moment),
    )


@register.simple_tag
def clock(moment: datetime | None, field: str = "") -> SafeString:
    """An exact time of day, to the second, for logs and histories."""
    attribute = format_html(' data-field="{}"', field) if field else ""
    if not moment:
        return format_html("<time{}></time>", attribute)
    moment = moment.astimezone(UTC)
    return format_html(
        '<time{} datetime="{}" title="{}">{}</time>', attribute, iso(moment), times.exact(moment), f"{moment:%H:%M:%S}"
    )


@register.simple_tag
def exactly(moment: datetime, zone: str = "UTC") -> SafeString:
    """A full time with its zone, for what lies ahead."""
    return format_html('<time datetime="{}">{}</time>', iso(moment), times.exact(moment, zone))


@register.simple_tag
def on_day(at: datetime | None, zone: str = "UTC") -> SafeString | str:
    """A day of this zone, with the exact time on hover; empty where nothing happened yet."""
    if not at:
        return ""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', iso(at), times.exact(at, zone), times.day_in(at, zone)
    )


@register.simple_tag
def days(since: datetime, until: datetime, zone: str = "UTC") -> SafeString:
    """The days of this zone from one moment up to another, with the exact ones on hover."""
    exact = f"{times.exact(since, zone)} to {times.exact(until, zone)}"
    return format_html('<span class="days" title="{}">{}</span>', exact, times.days_between(since, until, zone))


@register.simple_tag
def moment(at: datetime) -> SafeString:
    """An exact time of day, to the millisecond, for what is compared with others that close."""
    at = at.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', iso(at), times.exact(at), at.time().isoformat("milliseconds")
    )


@register.simple_tag
def took(started: datetime | None, ended: datetime | None, field: str = "took") -> SafeString:
    """How long it ran, or has been running: the page counts on from `data-from` while there is no `data-to`."""
    words = times.took((ended or datetime.now(UTC)) - started) if started else ""
    return format_html(
        '<span data-field="{}" data-elapsed data-from="{}" data-to="{}">{}</span>',
        field,
        iso(started) if started else "",
        iso(ended) if ended else "",
        words,
    )


@register.filter
def step_took(step: dict[str, Any]) -> str:
    """How long a step ran, or has been running; empty before it began."""
    if not step["startedAt"]:
        return ""
    started = datetime.fromisoformat(step["startedAt"])
    ended = datetime.fromisoformat(step["endedAt"]) if step["endedAt"] else datetime.now(UTC)
    return times.took(ended - started)


@register.filter
def iso(moment: datetime) -> str:
    """The time as events carry it."""
    return times.wire(moment)


@register.filter
def coloured(text: str | None) -> SafeString:
    """A line of output with its terminal colours as classes."""
    return format_html_join(
        "",
        "{}",
        (
            (format_html('<span class="{}">{}</span>', classes, part) if classes else part,)
            for classes, part in ansi.segments(text or "")
        ),
    )


@register.filter
def initial(name: str) -> str:
    return (name.strip() or "?")[0].upper()


@register.filter
def control(field: BoundField) -> SafeString:
    """A form field's own input in our style; errors and help are tied to it by Django's aria-describedby."""
    widget = field.field.widget
    widget.attrs.pop("placeholder", None)  # the label says it, and stays readable
    css = {"checkbox": "form-check-input", "select": "form-select"}.get(
        getattr(widget, "input_type", ""), "form-control"
    )
    return field.as_widget(attrs={"class": f"{css} is-invalid" if field.errors else css})


@register.filter
def figure(value: float | None) -> str:
    """A number as the pages' figures show it: 12.5, 340; a dash where there is none."""
    return "—" if value is None else f"{value:g}" if value < 10_000 else f"{value:.0f}"


@register.filter(name="json")
def as_json(value: Any) -> str:
    """For a data attribute; the template escapes it."""
    return json.dumps(value, separators=(",", ":"))


@register.filter
def needs_words(count: int) -> str:
    """The answer to "is anything wrong?". Also said by rows.js: portal/tests/needs.json holds both."""
    if not count:
        return "Nothing needs you"
    return f"{count} thing needs you" if count == 1 else f"{count} things need you"


@register.filter
def failures_words(count: int) -> str:
    return f"{count} failed or lost, not tried again" if count else "No failed deployment waits for you"


@register.filter
def alerts_words(count: int) -> str:
    if not count:
        return "No alert fires"
    return f"{count} alert fires" if count == 1 else f"{count} alerts fire"
