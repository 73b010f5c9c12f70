"""A tenant's home: whose panels, what needs somebody, figures, charts and their table."""

import gzip
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from django_scopes import scope

from deployments import actions
from deployments.models import Deployment, Stack, Status
from deployments.tests.conftest import make_stack, python
from events import numbering
from monitoring.actions import Measured, record
from monitoring.alerting import actions as alerting
from monitoring.alerting.actions import Raised
from monitoring.alerting.models import Source
from monitoring.models import HourRollup, LatestMetrics
from portal.charts import CHARTS_SHOWN, LINES_SHOWN, path
from tenants.models import Tenant

HOME = "/t/acme/"
HTML_BUDGET_KB = 30  # compressed; scripts, styles and requests: tests/whole/test_budget.py
RANGES = ["15m", "1h", "24h", "7d", "30d"]


@pytest.fixture
def web(platform_admin) -> Stack:
    return make_stack("web", python("print('built')"), by=platform_admin.user)


def page_of(person, address: str = HOME) -> str:
    response = person.get(address)
    assert response.status_code == 200
    return response.content.decode()


def said(page: str, field: str) -> str:
    """The text of the first element that holds this field."""
    return re.search(rf'data-field="{field}"[^>]*>([^<]*)<', page)[1]


def verdict(page: str) -> str:
    return re.search(r"data-verdict>([^<]*)<", page)[1]


def deploy(acme: Tenant, person, stack: Stack, name: str = "web", status: str = Status.QUEUED, **fields) -> Deployment:
    deployment = actions.request_deployment(acme, stack, {}, by=person.user, name=name)
    if status in (Status.FAILED, Status.LOST):
        at = timezone.now()
        fields = {"status": status, "started_at": at, "ended_at": at, "reason": "It broke."} | fields
    with scope(tenant=acme):
        Deployment.objects.filter(pk=deployment.pk).update(**fields)
    return deployment


def sample(tenant: Tenant, at: datetime | None = None, **values: float) -> None:
    units = {"cpu_percent": "%", "memory_percent": "%", "network_in_bytes_per_second": "B/s"}
    at = at or timezone.now()
    record(tenant, [Measured(name, value, at, units.get(name, "")) for name, value in values.items()])


# --- Is anything wrong? -----------------------------------------------------------------------------------------------


def test_nothing_needs_anybody_where_nothing_is_wrong(alice, acme):
    sample(acme, cpu_percent=12)
    page = page_of(alice)
    assert verdict(page) == "Nothing needs you"
    assert said(page, "failures") == "No failed deployment waits for you"
    assert said(page, "samples") == "Samples arrive"


def test_a_failed_and_a_lost_deployment_need_somebody(alice, acme, web):
    deploy(acme, alice, web, name="web", status=Status.FAILED)
    deploy(acme, alice, web, name="shop", status=Status.LOST)
    page = page_of(alice)
    assert verdict(page) == "2 things need you"
    assert page.count('data-testid="trouble"') == 2 + 1  # and the blank that its script fills
    assert "It broke." in page


def test_what_was_tried_again_needs_nobody_whatever_became_of_it(alice, acme, web):
    failed = deploy(acme, alice, web, status=Status.FAILED)
    deploy(acme, alice, web, name="web")
    other = deploy(acme, alice, web, name="shop", status=Status.FAILED)
    page = page_of(alice)
    assert verdict(page) == "1 thing needs you"
    assert f"trouble-{other.id}" in page
    assert f"trouble-{failed.id}" not in page


def test_what_failed_long_ago_needs_nobody(alice, acme, web):
    long_ago = timezone.now() - timedelta(days=8)
    deploy(acme, alice, web, status=Status.FAILED, started_at=long_ago, ended_at=long_ago)
    assert verdict(page_of(alice)) == "Nothing needs you"


def test_samples_that_stopped_are_said_with_the_moment_of_the_last(alice, acme):
    at = timezone.now() - timedelta(minutes=5)
    sample(acme, at, cpu_percent=12)
    page = page_of(alice)
    assert verdict(page) == "1 thing needs you"
    assert said(page, "samples") == f"No samples since {at.astimezone(UTC):%H:%M:%S} UTC"


def test_a_tenant_that_never_sent_samples_is_not_told_that_they_stopped(alice, acme):
    page = page_of(alice)
    assert verdict(page) == "Nothing needs you"
    assert said(page, "samples") == "No samples yet"
    assert "an agent or a service sends samples" in page


def test_alerts_that_fire_need_the_admins_until_somebody_looks_after_them(alice, bob, acme, globex):
    assert said(page_of(alice), "alerts") == "No alert fires"
    fired = [alerting.raise_alert(tenant, raised(name)) for tenant, name in ((acme, "a"), (acme, "b"), (globex, "c"))]
    page = page_of(alice)
    assert verdict(page) == "2 things need you"
    assert said(page, "alerts") == "2 alerts fire"
    alerting.acknowledge(fired[0], alice.user)
    assert said(page_of(alice), "alerts") == "1 alert fires"
    page = page_of(bob)
    assert verdict(page) == "Nothing needs you", "alerts are the admins'"
    assert 'data-module="checks"' not in page


def raised(key: str) -> Raised:
    return Raised(Source.API, key, key, "error", "It is unwell", timezone.now())


# --- Whose panels -----------------------------------------------------------------------------------------------------


def test_alice_and_bob_follow_the_dashboard_and_nothing_twice(alice, bob, acme):
    for person in (alice, bob):
        config = json.loads(re.search(r'id="live-config"[^>]*>(.*?)</script>', page_of(person))[1])
        names = {name.rpartition(":")[2] for name in config["channels"]}
        assert "dashboard" in names
        assert "deployments" not in names
        assert config["denied"] == {}


def test_every_panel_says_how_fresh_it_is(alice, acme):
    sample(acme, cpu_percent=12)
    page = page_of(alice)
    panels = re.findall(r'<section class="panel[^"]*" id="([^"]+)"[^>]*data-live-panel="tenant:', page)
    assert panels[:5] == ["attention-panel", "figures", "charts", "running", "latest"]


def test_bob_may_look_but_is_offered_nothing_to_deploy(bob, alice, web):
    assert "Deploy one of these" in page_of(alice)
    page = page_of(bob)
    assert "Deploy one of these" not in page
    assert ">Deploy<" not in page


def test_alice_sees_who_did_what_last_and_bob_has_no_such_panel(alice, bob, acme, web):
    deployments = [deploy(acme, alice, web, name=f"web-{number}") for number in range(12)]
    while numbering.number().is_due:
        pass
    page = page_of(alice)
    assert page.count('data-testid="act"') == 10 + 1  # and the blank that its script fills
    assert "Alice deployed web-11 #12" in page
    assert "Alice deployed web-1 #2<" not in page
    assert f"/t/acme/deployments/{deployments[-1].id}/" in page
    assert 'id="activity"' not in page_of(bob)


# --- Figures ----------------------------------------------------------------------------------------------------------


def test_figures_say_value_unit_and_age_the_machines_own_first(alice, acme):
    sample(acme, orders=7, network_in_bytes_per_second=1_234_000, cpu_percent=12.34)
    page = page_of(alice)
    assert re.findall(r'data-metric="([^"]+)"', page) == ["cpu_percent", "network_in_bytes_per_second", "orders"]
    assert "12.3 %" in page
    assert "1.23 MB/s" in page
    assert page.count('class="muted"><time data-relative datetime="') >= 3


def test_running_and_waiting_are_counted(alice, acme, web):
    for number in range(3):
        deploy(acme, alice, web, name=f"web-{number}")
    page = page_of(alice)
    assert re.search(r'data-tally="running"[^>]*>(\d+)<', page)[1] == "0"
    assert re.search(r'data-tally="waiting"[^>]*>(\d+)<', page)[1] == "3"


def test_another_tenants_metrics_are_not_there(alice, acme, globex):
    sample(globex, secret_metric=1)
    assert "secret_metric" not in page_of(alice)


# --- Charts -----------------------------------------------------------------------------------------------------------


def data_of(page: str) -> dict:
    return json.loads(re.search(r'id="chart-data"[^>]*>(.*?)</script>', page)[1])


def test_metrics_of_one_unit_share_a_chart_and_gaps_stay_open(alice, acme):
    now = timezone.now()
    sample(acme, now - timedelta(minutes=20), cpu_percent=10)
    sample(acme, now, cpu_percent=20, memory_percent=60, network_in_bytes_per_second=1000)
    data = data_of(page_of(alice))
    assert [[line["name"] for line in chart["lines"]] for chart in data["charts"]] == [
        ["cpu_percent", "memory_percent"],
        ["network_in_bytes_per_second"],
    ]
    assert (data["step"], data["size"]) == (60, 61)
    points = data["values"]["cpu_percent"]
    assert [point for point in points if point is not None] == [10, 20]
    assert points[-21] == 10
    assert points[-1] == 20


@pytest.mark.parametrize("span", RANGES)
def test_each_range_is_an_address(alice, acme, span):
    sample(acme, cpu_percent=12)
    page = page_of(alice, f"{HOME}?range={span}")
    assert re.search(rf'href="\?[^"]*#charts" aria-current="true">{span}<', page)
    assert 50 <= data_of(page)["size"] <= 400


def test_an_old_link_with_an_unknown_range_still_opens(alice, acme):
    sample(acme, cpu_percent=12)
    assert data_of(page_of(alice, f"{HOME}?range=5y&zone=mars&view=hologram"))["step"] == 60


def test_times_are_of_the_tenants_zone_until_utc_is_asked_for(alice, acme):
    Tenant.objects.filter(pk=acme.pk).update(time_zone="Asia/Tokyo")
    sample(acme, cpu_percent=12)
    assert data_of(page_of(alice))["zone"] == "Asia/Tokyo"
    assert "Times are in Asia/Tokyo" in page_of(alice)
    assert data_of(page_of(alice, f"{HOME}?zone=utc"))["zone"] == "UTC"


def test_the_table_says_the_same_in_words_and_keeps_the_range(alice, acme):
    Tenant.objects.filter(pk=acme.pk).update(time_zone="Asia/Tokyo")
    now = timezone.now()
    sample(acme, now - timedelta(minutes=20), cpu_percent=10)
    sample(acme, now, cpu_percent=20)
    page = page_of(alice, f"{HOME}?range=24h&view=table")
    rows = re.findall(r'<tr><th scope="row">.*?</tr>', page)
    assert 48 <= len(rows) <= 50
    assert "20.0 %" in rows[0] or "15.0 %" in rows[0]  # both samples, where they fall into one half hour
    assert re.search(r"\d\d:[03]0<", rows[0])
    assert "no samples" in rows[3]
    assert "Asia/Tokyo, 24 hours" in page
    assert 'href="?range=24h#charts">Show as charts' in page
    assert 'data-testid="chart"' not in page


def test_no_more_lines_than_can_be_read_and_no_more_charts_than_fit(alice, acme):
    now = timezone.now()
    units = ["", "ms", "requests", "errors", "orders"]
    record(acme, [Measured(f"metric_{number:02}", number, now, units[number % 5]) for number in range(40)])
    charts = data_of(page_of(alice))["charts"]
    assert [len(chart["lines"]) for chart in charts] == [LINES_SHOWN] * CHARTS_SHOWN


def test_a_line_is_sketched_with_its_gaps_before_any_script_runs():
    assert path([0, 50, None, 100], 0, 100) == "M0.0 100.0L33.3 50.0M100.0 0.0"


# --- What it costs ----------------------------------------------------------------------------------------------------


def test_home_needs_as_many_queries_for_a_month_of_everything_as_for_nothing(
    alice, acme, web, django_assert_max_num_queries
):
    for number in range(20):
        deploy(acme, alice, web, name=f"web-{number}", status=Status.FAILED if number % 2 else Status.QUEUED)
    with scope(tenant=acme):
        first = HourRollup.period_of(timezone.now())
        HourRollup.objects.bulk_create(
            HourRollup(tenant=acme, name=name, hour=first - hour, count=1, sum=1, min=1, max=1)
            for hour in range(700)
            for name in ("cpu_percent", "memory_percent")
        )
    sample(acme, cpu_percent=12, memory_percent=20, load_1m=1)
    with scope(tenant=acme):
        assert LatestMetrics.objects.count() == 1
    while numbering.number().is_due:
        pass
    # Session, person, membership, policies, memberships; two lists with the queue, the tally, what failed; the newest
    # metrics, which the series read again, and its points; what people did, by its places in the log; the alerts that
    # are open; the bell.
    with django_assert_max_num_queries(18):
        page = page_of(alice, f"{HOME}?range=30d")
    assert page.count("cpu_percent") >= 3


def test_full_pages_stay_within_the_budget_of_bytes(alice, acme, web):
    for number in range(60):
        deploy(acme, alice, web, name=f"service-{number}", status=Status.FAILED if number % 2 else Status.QUEUED)
    for minute in range(0, 60, 4):
        at = timezone.now() - timedelta(minutes=minute)
        sample(acme, at, **{f"metric_{name}": minute * 1.37 + name for name in range(20)})
    while numbering.number().is_due:
        pass
    addresses = [HOME, f"{HOME}?view=table", f"{HOME}deployments/", f"{HOME}activity/"]
    sizes = {address: len(gzip.compress(page_of(alice, address).encode())) / 1024 for address in addresses}
    assert {address: size for address, size in sizes.items() if size > HTML_BUDGET_KB} == {}
