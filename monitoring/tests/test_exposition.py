"""What Prometheus and OpenMetrics write is taken as it stands: counters and gauges, each series by its labels."""

import math
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from django_scopes import scopes_disabled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, Info, Summary, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from monitoring.exposition import BadText, Exposition
from monitoring.models import Sample
from monitoring.names import parts_of, series_name
from monitoring.tests.conftest import NOON, latest_of, newest
from monitoring.tests.test_api import POST, a_count_of_this_tests_own, problems, service, stored  # noqa: F401

pytestmark = pytest.mark.django_db
TEXT, OPENMETRICS = "text/plain; version=0.0.4; charset=utf-8", "application/openmetrics-text; version=1.0.0"


def send(person, text: str | bytes, content_type: str = TEXT, tenant: str | None = "acme"):
    headers = {"X-Tenant": tenant} if tenant else {}
    return person.client.post(POST, text, content_type=content_type, headers=headers)


def an_application() -> CollectorRegistry:
    """As any service that uses Prometheus' client has one."""
    registry = CollectorRegistry()
    requests = Counter("http_requests", "Requests.", ["method", "code"], registry=registry)
    requests.labels("get", "200").inc(7)
    requests.labels("post", "500").inc()
    Gauge("queue_length", "What waits.", registry=registry).set(3)
    Histogram("request_seconds", "How long.", registry=registry, buckets=[0.1, 1.0]).observe(0.5)
    Summary("body_bytes", "How large.", registry=registry).observe(512)
    Info("build", "Which.", registry=registry).info({"version": "1.2"})
    return registry


EXPECTED = {
    'http_requests_total{code="200",method="get"}': (7.0, "", "counter"),
    'http_requests_total{code="500",method="post"}': (1.0, "", "counter"),
    "queue_length": (3.0, "", "gauge"),
    "request_seconds_count": (1.0, "", "counter"),
    "request_seconds_sum": (0.5, "s", "counter"),
    "body_bytes_count": (1.0, "", "counter"),
    "body_bytes_sum": (512.0, "B", "counter"),
}


@pytest.mark.parametrize(("write", "content_type"), [(generate_latest, TEXT), (generate_openmetrics, OPENMETRICS)])
def test_what_a_service_shows_prometheus_can_be_sent_as_it_is(acme, alice, clock, write, content_type):
    agent = service(acme, alice, "metrics:write")
    answer = send(agent, write(an_application()), content_type, tenant=None).json()
    found = latest_of(acme).metrics
    assert (answer["stored"], answer["known"], answer["version"]) == (len(found), 0, 1)
    assert answer["left_out"] >= 4, "three buckets, the info, and when things were created"
    found.pop('build_info{version="1.2"}', None)  # in the text format it is a gauge
    told = {name: (one["value"], one["unit"], one.get("kind", "gauge")) for name, one in found.items()}
    assert told == EXPECTED


def test_a_gauge_that_counts_what_was_created_is_one(acme, alice, clock):
    """Only beside a counter of that name it is the moment at which that began."""
    text = "# TYPE orders_created gauge\norders_created 7\n"
    assert send(alice, text).json()["left_out"] == 0
    assert newest(acme) == {"orders_created": 7.0}
    beside = "# TYPE paid_total counter\npaid_total 3\n# TYPE paid_created gauge\npaid_created 1.7e9\n"
    assert send(alice, beside).json()["left_out"] == 1
    assert newest(acme).keys() == {"orders_created", "paid_total"}


def test_a_sample_with_a_time_is_of_that_time_and_known_when_it_comes_again(acme, alice, clock):
    earlier = NOON - timedelta(minutes=5)
    text = f"queue_length 3 {int(earlier.timestamp() * 1000)}\n"
    assert send(alice, text).json()["stored"] == 1
    assert send(alice, text).json() == {"stored": 0, "known": 1, "left_out": 0, "version": 1}
    metrics = f"# TYPE queue_length gauge\nqueue_length 4 {earlier.timestamp() + 1.5}\n# EOF\n"
    assert send(alice, metrics, OPENMETRICS).json()["stored"] == 1
    with scopes_disabled():
        times = set(Sample.objects.values_list("at", flat=True))
    assert times == {earlier, earlier + timedelta(seconds=1.5)}


def test_a_sample_without_a_time_was_measured_when_it_came(acme, alice, clock):
    send(alice, "queue_length 3\n")
    later = clock.move(seconds=15)
    send(alice, "queue_length 3\n")
    assert latest_of(acme).metrics["queue_length"]["at"] == later.isoformat()
    assert stored() == 2


@pytest.mark.parametrize(
    ("text", "content_type", "where", "words"),
    [
        ("a 1\nb one\n", TEXT, "line 2", "can't be read"),
        ('a 1\nb{c="} 1\n', TEXT, "line 2", "can't be read"),
        ("# TYPE a gauge\na 1\n", OPENMETRICS, "body", "EOF"),
        ("# TYPE a counter\na_total -1\n# EOF\n", OPENMETRICS, "body", "negative"),
        ("a 1\n" + "b" * 5000 + " 1\n", TEXT, "line 2", "4096 characters"),
        ("a 1\n" + "b" * 65 + " 1\n", TEXT, "b" * 65, "at most 64"),
        ('b{c="' + "x" * 200 + '"} 1\n', TEXT, 'b{c="' + "x" * 200 + '"}', "labels 200"),
        ('b{c="x\\ny"} 1\n', TEXT, 'b{c="x\ny"}', "printable"),
        ("b 1e19\n", TEXT, "b", "at most 1e+18"),
        ("b " + "9" * 400 + "\n", TEXT, "b", "at most 1e+18"),
        ("b 1 1e30\n", TEXT, "b", "no moment"),
        ("b 1 NaN\n", TEXT, "b", "no moment"),
        ('a 1\nb{c="d"} 1 1000\n', TEXT, 'b{c="d"}', "more than 43200 s old"),
        ("".join(f"b{n} 1\n" for n in range(501)), TEXT, "body", "501 samples"),
    ],
)
def test_a_text_that_cannot_be_taken_says_where_and_nothing_of_it_is_stored(
    acme, alice, clock, text, content_type, where, words
):
    found = problems(send(alice, text, content_type))
    assert list(found) == [where]
    assert words in found[where]
    assert "Nothing was stored." in found[where]
    assert stored() == 0


def test_labels_without_end_are_refused_by_the_series_that_was_one_too_many(acme, alice, clock, settings):
    settings.METRIC_SERIES_PER_TENANT = 2
    found = problems(send(alice, "".join(f'requests_total{{user="{n}"}} 1\n' for n in range(3))))
    assert "2 series of other names or labels, which is the most" in found['requests_total{user="2"}']
    assert send(alice, 'requests_total{user="0"} 1\nrequests_total{user="1"} 1\n').status_code == 200
    assert send(alice, 'requests_total{user="0"} 2\n').status_code == 200, "known series go on"


def test_what_is_no_text_of_ours_is_refused(acme, alice, clock, settings):
    assert send(alice, b"a \xff\n").status_code == 400
    assert send(alice, "").status_code == 400
    assert send(alice, "a 1\n", "text/csv").status_code == 415
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    assert send(alice, "a 1\n" * 100).status_code == 413
    assert stored() == 0


def test_values_that_measure_nothing_are_left_out(acme, alice, clock):
    assert send(alice, "a NaN\nb +Inf\nc 1\n").json() == {"stored": 1, "known": 0, "left_out": 2, "version": 1}
    assert newest(acme) == {"c": 1.0}
    assert send(alice, "# HELP a Nothing.\n").json() == {"stored": 0, "known": 0, "left_out": 0, "version": 1}


def test_json_says_the_same_series(acme, alice, clock):
    one = {
        "name": "requests_total",
        "value": 7,
        "at": NOON.isoformat(),
        "kind": "counter",
        "labels": {"b": "2", "a": "1"},
    }
    assert alice.api_post(POST, {"samples": [one]}, tenant="acme").json()["stored"] == 1
    text = f'# TYPE requests_total counter\nrequests_total{{a="1",b="2"}} 7 {int(NOON.timestamp() * 1000)}\n'
    assert send(alice, text).json()["known"] == 1


LABELS = st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True), st.text(min_size=1), max_size=4)


@given(labels=LABELS)
def test_a_series_is_known_again_by_its_name(labels):
    assert parts_of(series_name("requests_total", labels)) == ("requests_total", labels)


@given(
    text=st.one_of(st.text(), st.text(alphabet='ab{}="\\,# \n\t019.eE+-NaInf_TYPEcountergauge')), strict=st.booleans()
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_sent_is_read_or_refused(text, strict):
    with suppress(BadText):
        found = Exposition(text, strict).read(datetime.now(UTC))
        assert all(math.isfinite(sample.value) for sample in found.samples)


def test_a_page_of_our_own_is_read(acme, alice, clock):
    """What every process of the product shows Prometheus."""
    found = Exposition(generate_latest(REGISTRY).decode()).read(NOON)
    assert any(sample.name == "process_open_fds" for sample in found.samples) or not os.path.exists("/proc/self/fd")
