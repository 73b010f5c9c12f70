"""What so many connected people need of each part, reckoned from what one of each costs (benchmarks/measured.json).

python -m benchmarks.scale     writes the tables of docs/scale.md anew
"""

import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.costs import MEASURED
from neostack.processes import BASE_DIR

PAGE = BASE_DIR / "docs" / "scale.md"
CONNECTED = (100_000, 1_000_000, 10_000_000)
DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Assumed:
    """What people do and what a machine is: guesses, to be replaced by who knows their own."""

    #: Events that somebody or something causes, for each connected person.
    events_a_person_minute: float = 0.2
    #: Open pages that each event reaches: those of its tenant, and the platform's.
    deliveries_an_event: float = 10.0
    pages_a_person_minute: float = 0.2
    #: Publications that channels keep for who comes back, for each connected person.
    kept_publications_a_person: float = 60.0
    #: After a node's restart everybody on it is back within this.
    back_within_seconds: float = 20.0
    #: Of a core no more than this is planned with; the rest is for peaks.
    busy: float = 0.5
    node_cores: int = 4
    node_gigabytes: float = 8.0
    database_cores: int = 32
    redis_gigabytes: float = 32.0


@dataclass(frozen=True)
class Need:
    """One part, for so many connected. `room` is how many connected people one copy of it has room for.

    `copies` is 0 for a part of which there can only be one today and which has no room for so many.
    """

    part: str
    why: str
    room: float
    is_single: bool

    def copies(self, connected: int) -> int:
        return max(1, math.ceil(connected / self.room))

    def gives_out(self, connected: int) -> bool:
        return self.is_single and connected > self.room


def needs(costs: dict[str, float], assumed: Assumed) -> list[Need]:
    """Each part by what it runs out of; the first that can't be multiplied has the least room of those."""
    events = assumed.events_a_person_minute / 60  # of one person, a second
    deliveries = events * assumed.deliveries_an_event
    pages = assumed.pages_a_person_minute / 60
    core = assumed.busy * 1e6  # µs of CPU a second that are planned with
    engine_cpu = costs["engine_idle_cpu_us_a_connection_second"] + deliveries * costs["engine_cpu_us_a_delivery"]
    database_cpu = events * costs["database_cpu_us_an_event"] + pages * costs["database_cpu_ms_a_page"] * 1e3
    kept = assumed.kept_publications_a_person * costs["redis_bytes_a_publication"]
    gigabyte = 2**30
    return [
        Need(
            "Centrifugo node, memory",
            f"{costs['engine_bytes_a_connection'] / 2**10:.0f} KB a connection, 70 % of {assumed.node_gigabytes:g} GB",
            0.7 * assumed.node_gigabytes * gigabyte / costs["engine_bytes_a_connection"],
            False,
        ),
        Need(
            "Centrifugo node, CPU",
            f"{engine_cpu:.1f} µs/s a connection: pings, and {deliveries:.2g} deliveries/s",
            assumed.node_cores * core / engine_cpu,
            False,
        ),
        Need(
            "Centrifugo node, everybody back",
            f"{costs['engine_cpu_us_a_connect']:.0f} µs a connection, within {assumed.back_within_seconds:g} s",
            assumed.node_cores * core * assumed.back_within_seconds / costs["engine_cpu_us_a_connect"],
            False,
        ),
        Need(
            "gate process, all nodes restarted",
            f"{costs['gate_cpu_us_a_connect']:.0f} µs a connection, within {assumed.back_within_seconds:g} s",
            core * assumed.back_within_seconds / costs["gate_cpu_us_a_connect"],
            False,
        ),
        Need(
            "web process",
            f"{costs['web_cpu_ms_a_page']:.0f} ms a page, {pages * 60:g} pages a minute",
            core / (pages * costs["web_cpu_ms_a_page"] * 1e3),
            False,
        ),
        Need(
            "relay",
            f"{costs['relay_cpu_us_an_event']:.0f} µs an event, {events * 60:g} events a minute",
            core / (events * costs["relay_cpu_us_an_event"]),
            True,
        ),
        Need(
            "PostgreSQL's primary, CPU",
            f"{database_cpu:.0f} µs/s a person: events and pages, {assumed.database_cores} cores",
            assumed.database_cores * core / database_cpu,
            True,
        ),
        Need(
            "Redis for histories, memory",
            f"{assumed.kept_publications_a_person:g} publications of {costs['redis_bytes_a_publication']:.0f} bytes a "
            f"person, {assumed.redis_gigabytes:g} GB",
            assumed.redis_gigabytes * gigabyte / kept,
            False,
        ),
        Need(
            "Redis for generations, memory",
            f"{costs['redis_bytes_a_person']:.0f} bytes a person, {assumed.redis_gigabytes:g} GB",
            assumed.redis_gigabytes * gigabyte / costs["redis_bytes_a_person"],
            True,
        ),
    ]


def first_to_give_out(found: list[Need]) -> Need:
    return min((need for need in found if need.is_single), key=lambda need: need.room)


# --- The tables -------------------------------------------------------------------------------------------------------


def lines_of_costs(measured: dict[str, Any]) -> Iterator[str]:
    yield f"Measured {measured['at']}: {measured['on'][1]}."
    yield ""
    yield "| cost | measured |"
    yield "|---|---|"
    for name, value in measured["costs"].items():
        yield f"| {name.replace('_', ' ')} | {shown(value)} |"


def lines_of_needs(found: list[Need]) -> Iterator[str]:
    yield "| part | one of it | has room for | " + " | ".join(f"{count:,} connected" for count in CONNECTED) + " |"
    yield "|---|---|---|" + "---|" * len(CONNECTED)
    for need in found:
        cells = [
            f"**gives out** ({connected / need.room:.1f}x)"
            if need.gives_out(connected)
            else f"{need.copies(connected):,}"
            for connected in CONNECTED
        ]
        yield f"| {need.part} | {need.why} | {rounded(need.room)} | {' | '.join(cells)} |"
    first = first_to_give_out(found)
    yield ""
    yield f"Of what there can be only one of, **{first.part}** gives out first, at {rounded(first.room)} connected."


def lines_of_flow(costs: dict[str, float], assumed: Assumed) -> Iterator[str]:
    yield "| connected | events/s | deliveries/s | pages/s | the log grows by, a day |"
    yield "|---|---|---|---|---|"
    for connected in CONNECTED:
        events = connected * assumed.events_a_person_minute / 60
        pages = connected * assumed.pages_a_person_minute / 60
        growth = events * DAY_SECONDS * costs["database_bytes_an_event"] / 2**30
        flow = (connected, events, events * assumed.deliveries_an_event, pages)
        yield f"| {' | '.join(f'{number:,.0f}' for number in flow)} | {growth:,.0f} GB |"


def shown(cost: float) -> str:
    return f"{cost:,.0f}" if cost >= 100 else f"{cost:.3g}"


def rounded(number: float) -> str:
    """Two digits: more would pretend."""
    digits = max(0, math.floor(math.log10(number)) - 1)
    return f"{round(number / 10**digits) * 10**digits:,.0f}"


def written(page: str, measured: dict[str, Any], assumed: Assumed) -> str:
    """The page with its tables, which stand between `<!-- name -->` and `<!-- end -->`, made anew."""
    tables = {
        "costs": lines_of_costs(measured),
        "flow": lines_of_flow(measured["costs"], assumed),
        "needs": lines_of_needs(needs(measured["costs"], assumed)),
    }
    for name, lines in tables.items():
        table = "\n".join(lines)
        page, count = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m, t=table: f"{m[1]}{t}\n{m[2]}", page, flags=re.DOTALL
        )
        assert count == 1, f"docs/scale.md has no place for {name}"
    return page


def main() -> int:
    PAGE.write_text(written(PAGE.read_text(), json.loads(MEASURED.read_text()), Assumed()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
