"""docs/scale.md says what follows from what was measured."""

import json

import pytest

from benchmarks import scale
from benchmarks.costs import MEASURED
from benchmarks.scale import Assumed, needs, rounded

pytestmark = pytest.mark.once

COSTS = {
    "engine_bytes_a_connection": 40 * 2**10,
    "engine_idle_cpu_us_a_connection_second": 10.0,
    "engine_cpu_us_a_connect": 500.0,
    "gate_cpu_us_a_connect": 250.0,
    "engine_cpu_us_a_delivery": 6.0,
    "relay_cpu_us_an_event": 200.0,
    "database_cpu_us_an_event": 400.0,
    "database_bytes_an_event": 1_000.0,
    "web_cpu_ms_a_page": 20.0,
    "database_cpu_ms_a_page": 4.0,
    "redis_bytes_a_person": 120.0,
    "redis_bytes_a_publication": 500.0,
}


def room(part: str, assumed: Assumed | None = None) -> float:
    return {need.part: need.room for need in needs(COSTS, assumed or Assumed())}[part]


def test_a_relay_has_room_for_what_half_a_core_pushes():
    assert room("relay") == pytest.approx(500_000 / 200 * 300)  # 2,500 events/s, one in five minutes from each
    assert room("relay", Assumed(events_a_person_minute=0.4)) == pytest.approx(room("relay") / 2)


def test_an_engines_cpu_is_pings_and_deliveries():
    assert room("Centrifugo node, CPU") == pytest.approx(4 * 500_000 / (10 + 10 / 300 * 6))


def test_what_there_can_be_only_one_of_gives_out_and_the_rest_is_multiplied():
    found = needs(COSTS, Assumed())
    first = scale.first_to_give_out(found)
    assert first.part == "relay"
    assert first.gives_out(10_000_000)
    assert not first.gives_out(100_000)
    web = next(need for need in found if need.part == "web process")
    assert not web.gives_out(10_000_000)
    assert web.copies(1_000_000) == 134


@pytest.mark.parametrize(("number", "shown"), [(146_801, "150,000"), (3_000.4, "3,000"), (42.2, "42")])
def test_numbers_pretend_no_more_than_two_digits(number, shown):
    assert rounded(number) == shown


def test_the_page_is_what_the_script_writes():
    page = scale.PAGE.read_text()
    assert scale.written(page, json.loads(MEASURED.read_text()), Assumed()) == page
