"""Times, durations and colours are said in the same words by the server and by the page: both read these samples."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from deployments.rows import ordinal
from portal import ansi, times
from portal.templatetags.neo import coloured

HERE = Path(__file__).parent
TIMES = json.loads((HERE / "times.json").read_text())
ANSI = json.loads((HERE / "ansi.json").read_text())


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(("moment", "words"), TIMES["ago"])
def test_a_time_is_relative_for_seven_days(moment, words):
    assert times.ago(at(moment), at(TIMES["now"])) == words


@pytest.mark.parametrize(("moment", "words"), TIMES["exact"])
def test_an_exact_time_names_its_zone(moment, words):
    assert times.exact(at(moment)) == words


@pytest.mark.parametrize(("moment", "zone", "words"), TIMES["exactIn"])
def test_in_a_tenants_zone_it_names_that_one_and_how_far_from_utc_it_was(moment, zone, words):
    assert times.exact(at(moment), zone) == words


@pytest.mark.parametrize(("moment", "zone", "day", "words"), TIMES["days"])
def test_a_day_is_the_one_that_clocks_in_the_zone_showed(moment, zone, day, words):
    local = at(moment).astimezone(ZoneInfo(zone)).date()
    assert (local.isoformat(), times.day_words(local)) == (day, words)


@pytest.mark.parametrize(("seconds", "words"), TIMES["took"])
def test_a_duration_shows_two_units(seconds, words):
    assert times.took(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(("number", "words"), TIMES["ordinal"])
def test_a_place_in_a_queue_is_an_ordinal(number, words):
    assert ordinal(number) == words


@pytest.mark.parametrize(("line", "expected"), ANSI)
def test_terminal_colours_become_classes(line, expected):
    assert [list(segment) for segment in ansi.segments(line)] == expected


def test_a_log_line_cannot_bring_markup_of_its_own():
    html = coloured("\x1b[31m<script>alert(1)</script>")
    assert html == '<span class="ansi-red-fg">&lt;script&gt;alert(1)&lt;/script&gt;</span>'
