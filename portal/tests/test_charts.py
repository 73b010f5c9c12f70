"""The charts of the monitoring page: one series alone, and what is sampled seldom."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from monitoring.actions import Measured, record
from portal.tests.test_home import data_of
from portal.tests.test_monitoring import PAGE, raised, text

pytestmark = pytest.mark.django_db
REQUESTS = 'requests_total{code="200",method="get"}'


def measure(tenant, *names: str) -> None:
    now = timezone.now()
    record(tenant, [Measured(name, 12.0, now, "%" if name.endswith("percent") else "") for name in names])


def measure_each_five_minutes(tenant, until: int) -> None:
    now = timezone.now()
    moments = [now - timedelta(minutes=minutes) for minutes in range(65, until - 1, -5)]
    record(tenant, [Measured("backup_age", 12.0, at) for at in moments])


def one(person, series: str, **more: str):
    return person.get(PAGE, query_params={"series": series} | more)


def test_one_series_is_shown_alone_whoever_asks(acme, alice, bob):
    measure(acme, "cpu_percent", "memory_percent", REQUESTS)
    for person in (alice, bob):
        for name in ("memory_percent", REQUESTS):
            page = text(one(person, name))
            assert [line["name"] for chart in data_of(page)["charts"] for line in chart["lines"]] == [name]
            assert len(re.findall("<option [^>]* selected>", page)) == 1
        assert len(data_of(text(person.get(PAGE)))["charts"]) == 2


def test_a_form_chooses_it_and_every_link_keeps_it(acme, alice):
    acme.time_zone = "Asia/Tokyo"
    acme.save()
    raised(acme)
    measure(acme, "cpu_percent", REQUESTS)
    page = text(one(alice, REQUESTS, range="24h", zone="utc", view="table", state="firing"))
    form = page[page.index('<form class="filters" method="get" action="#charts"') :]
    form = form[: form.index("</form>")]
    kept = dict(re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', form))
    assert kept == {"range": "24h", "zone": "utc", "view": "table", "state": "firing"}
    assert '<option value="requests_total{code=&quot;200&quot;,method=&quot;get&quot;}" selected>' in form
    links = re.findall(r'href="(\?[^"]*)#charts"', page)
    assert len(links) == 7 + 2 + 2, "ranges, zones, all series, and as charts"
    assert [link for link in links if "series=requests_total%7Bcode" not in link] == [
        "?range=24h&amp;zone=utc&amp;view=table"
    ]
    tabs = re.findall(r'href="(\?[^"#]*)"', page)
    assert tabs
    assert all("series=requests_total" in tab for tab in tabs)


@pytest.mark.parametrize("view", ["", "table"])
@pytest.mark.parametrize("series", ["no_such", "<b>", "\x00", "x" * 5000])
def test_a_series_that_there_is_not_is_said_so(acme, alice, series, view):
    measure(acme, "cpu_percent")
    page = text(one(alice, series, view=view))
    assert "There is no series “" in page
    assert "Show all series" in page
    assert "<b>" not in page
    assert "chart-data" not in page
    assert "Samples arrive" in page, "the rest of the page is there"


def test_another_tenants_series_is_none(acme, globex, charlie):
    measure(acme, "cpu_percent", "secret_metric")
    measure(globex, "cpu_percent")
    page = text(charlie.get("/t/globex/monitoring/", query_params={"series": "secret_metric"}))
    assert "There is no series “secret_metric”" in page


def test_where_there_is_one_series_nothing_is_chosen(acme, alice):
    measure(acme, "cpu_percent")
    assert "of-series" not in text(alice.get(PAGE))


def test_home_shows_one_series_too_and_leads_back(acme, alice):
    measure(acme, "cpu_percent", "memory_percent")
    page = text(alice.get("/t/acme/", query_params={"series": "memory_percent"}))
    assert [line["name"] for line in data_of(page)["charts"][0]["lines"]] == ["memory_percent"]
    assert 'href="?#charts">Show all series' in page


@pytest.mark.parametrize("span", ["15m", "1h"])
def test_what_is_measured_each_five_minutes_stands_in_every_row_until_it_stops(acme, alice, span):
    measure_each_five_minutes(acme, until=0)
    page = text(one(alice, "", range=span))
    assert data_of(page)["lasts"] == {"backup_age": 90 if span == "15m" else 8}
    assert "What is sampled less often stands until its next sample is due." in page
    page = text(one(alice, "", range=span, view="table"))
    assert "no samples" not in page
    assert page.count('<td class="end">12.0</td>') > 55


def test_what_has_stopped_is_a_gap_in_the_table(acme, alice):
    measure_each_five_minutes(acme, until=30)
    page = text(alice.get(f"{PAGE}?view=table"))
    assert 22 <= page.count('<td class="end muted">no samples</td>') <= 24, "the last half hour but for eight minutes"


def test_what_is_measured_more_often_than_a_step_stands_no_longer_than_it(acme, alice):
    now = timezone.now()
    record(acme, [Measured("cpu_percent", 12.0, now - timedelta(seconds=5 * n), "%") for n in range(100)])
    page = text(alice.get(PAGE))
    assert data_of(page)["lasts"] == {}
    assert "What is sampled less often" not in page
