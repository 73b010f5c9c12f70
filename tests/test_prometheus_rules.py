"""Prometheus' rules, run by promtool: each alert is raised by the series that mean it, and by no others."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.services import ROOT

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (Debian: prometheus)"),
]

DIRECTORY = ROOT / "deploy/prometheus"
RULES = [rule for group in yaml.safe_load((DIRECTORY / "rules.yml").read_text())["groups"] for rule in group["rules"]]
MINUTES = 30

#: A platform that is well, as Prometheus sees it: a value a minute, in promtool's notation.
WELL = {
    'up{job="web",instance="web:8000"}': "1x30",
    'up{job="gate",instance="a:9100"}': "1x30",
    'up{job="gate",instance="b:9100"}': "1x30",
    'up{job="relay",instance="a:9100"}': "1x30",
    'up{job="relay",instance="b:9100"}': "1x30",
    'up{job="worker"}': "1x30",
    'up{job="pulse"}': "1x30",
    'up{job="centrifugo",instance="c:9001"}': "1x30",
    "centrifugo_node_num_clients": "7900x30",
    'neostack_relay_active{instance="a:9100"}': "1x30",
    'neostack_relay_active{instance="b:9100"}': "0x30",
    'neostack_cursor_waiting_seconds{cursor="push"}': "1x30",
    'neostack_cursor_waiting_seconds{cursor="handler:notify"}': "20x30",
    'neostack_cursor_attempts{cursor="handler:notify"}': "1x30",
    'neostack_cursor_dead_letters{cursor="push"}': "0x30",
    'neostack_delivery_seconds_bucket{le="0.02"}': "0+600x30",
    'neostack_delivery_seconds_bucket{le="1.0"}': "0+600x30",
    'neostack_delivery_seconds_bucket{le="+Inf"}': "0+600x30",
    'neostack_push_failures_total{part="engine"}': "0x30",
    "neostack_looked_seconds_ago": "1x30",
    'neostack_part_state{part="database"}': "0x30",
    'neostack_part_state{part="redis"}': "0x30",
    'neostack_part_state{part="engine"}': "0x30",
    'neostack_processes{kind="runner"}': "1x30",
    'neostack_processes{kind="beat"}': "1x30",
    "neostack_deployment_queued_seconds": "30x30",
    'neostack_requests_total{status="2xx"}': "0+600x30",
    'neostack_requests_total{status="5xx"}': "0+1x30",
    'neostack_request_seconds_bucket{le="0.5"}': "0+600x30",
    'neostack_request_seconds_bucket{le="2.5"}': "0+600x30",
    'neostack_request_seconds_bucket{le="+Inf"}': "0+600x30",
    'neostack_gate_answers_total{answer="try_again"}': "0x30",
}

#: What goes wrong (None: the series ends to be there), and the alerts that it raises.
FAULTS: list[tuple[dict[str, str | None], set[str]]] = [
    ({'up{job="centrifugo",instance="c:9001"}': "0x30"}, {"CentrifugoDown"}),
    ({'up{job="centrifugo",instance="c:9001"}': None}, {"CentrifugoNotThere"}),
    ({"centrifugo_node_num_clients": "8001x30"}, {"HighConnectionCount"}),
    ({'up{job="relay",instance="a:9100"}': "0x30"}, set()),  # the other has taken over, or NoActiveRelay says it
    ({'up{job="relay",instance="a:9100"}': "0x30", 'up{job="relay",instance="b:9100"}': "0x30"}, {"RelayDown"}),
    ({'neostack_relay_active{instance="a:9100"}': "0x30"}, {"NoActiveRelay"}),
    ({'neostack_cursor_waiting_seconds{cursor="push"}': "11x30"}, {"RelayLag"}),
    ({'neostack_cursor_waiting_seconds{cursor="handler:notify"}': "121x30"}, {"CursorStuck"}),
    ({'neostack_cursor_attempts{cursor="handler:notify"}': "3x30"}, {"CursorStuck"}),
    ({'neostack_cursor_dead_letters{cursor="push"}': "2x30"}, {"DeadLetters"}),
    ({'neostack_delivery_seconds_bucket{le="0.02"}': "0+500x30"}, {"DeliverySlow"}),
    ({'neostack_push_failures_total{part="engine"}': "0+12x30"}, {"PushFails"}),
    ({'up{job="web",instance="web:8000"}': "0x30"}, {"WebDown"}),
    ({'up{job="web",instance="web:8000"}': None}, {"WebNotThere"}),
    ({'up{job="gate",instance="a:9100"}': "0x30"}, set()),  # the other answers
    ({'up{job="gate",instance="a:9100"}': "0x30", 'up{job="gate",instance="b:9100"}': None}, {"GateDown"}),
    ({'up{job="worker"}': "0x30"}, {"WorkerDown"}),
    ({'up{job="pulse"}': None}, {"PulseDown"}),
    ({"neostack_looked_seconds_ago": "0+60x30"}, {"FactsOld"}),
    ({'neostack_part_state{part="database"}': "2x30"}, {"DatabaseAway"}),
    ({'neostack_part_state{part="redis"}': "2x30"}, {"RedisAway"}),
    ({'neostack_part_state{part="redis"}': None}, set()),  # one that was not configured is not away
    ({'neostack_part_state{part="engine"}': "2x30"}, {"EngineAway"}),
    ({'neostack_processes{kind="runner"}': "0x30"}, {"ProcessSilent"}),
    ({'neostack_processes{kind="beat"}': "0x30"}, {"ProcessSilent"}),
    ({"neostack_deployment_queued_seconds": "601x30"}, {"RunnerQueue"}),
    ({'neostack_requests_total{status="5xx"}': "0+60x30"}, {"WebErrors"}),
    ({'neostack_request_seconds_bucket{le="0.5"}': "0+500x30"}, {"WebSlow"}),
    ({'neostack_gate_answers_total{answer="try_again"}': "0+120x30"}, {"GateBlind"}),
]


def case(fault: dict[str, str | None], raised: set[str], at: str = f"{MINUTES}m") -> dict[str, Any]:
    """One test of promtool's: exactly these alerts fire at that time."""
    assert fault.keys() <= WELL.keys()
    series = {name: values for name, values in (WELL | fault).items() if values is not None}
    firing = 'group by (alertname) (ALERTS{alertstate="firing"})'
    expected = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(raised)]
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": at, "exp_samples": expected}],
    }


def promtool(*arguments: str | Path) -> None:
    result = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


def test_each_alert_is_raised_by_what_it_means_and_by_nothing_else(tmp_path):
    blips = [case(fault, set(), at="0m") for fault, _ in FAULTS]  # what has only begun calls nobody
    cases = [case({}, set()), *(case(fault, raised) for fault, raised in FAULTS), *blips]
    told = {"rule_files": [str(DIRECTORY / "rules.yml")], "evaluation_interval": "1m", "tests": cases}
    file = tmp_path / "rules.test.yml"
    file.write_text(yaml.safe_dump(told))
    promtool("test", "rules", file)


def test_every_alert_has_a_fault_that_raises_it():
    assert {rule["alert"] for rule in RULES} == {alert for _, raised in FAULTS for alert in raised}


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["alert"]) for rule in RULES])
def test_every_alert_says_what_it_is_and_what_to_do_first(rule):
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"]
    runbook = rule["annotations"]["runbook"]
    assert runbook.endswith(".")
    assert len(runbook) > 40, "a sentence that helps"
    assert rule["for"], "nobody is called for a blink"


def test_what_prometheus_reads_is_valid(tmp_path):
    promtool("check", "rules", DIRECTORY / "rules.yml")
    promtool("check", "config", "--syntax-only", DIRECTORY / "prometheus.yml")
    on_kubernetes = yaml.safe_load((ROOT / "deploy/kubernetes/monitoring/prometheus.yml").read_text())
    for job in on_kubernetes["scrape_configs"]:
        del job["kubernetes_sd_configs"]  # Debian's Prometheus is built without it
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(on_kubernetes))
    promtool("check", "config", "--syntax-only", tmp_path / "prometheus.yml")


@pytest.mark.skipif(not shutil.which("amtool"), reason="amtool is not installed (Debian: prometheus-alertmanager)")
def test_somebody_is_called(tmp_path):
    config = yaml.safe_load((DIRECTORY / "prometheus.yml").read_text())
    assert config["alerting"]["alertmanagers"] == [{"static_configs": [{"targets": ["alertmanager:9093"]}]}]
    told = (ROOT / "deploy/alertmanager/alertmanager.yml").read_text()
    # Debian's Alertmanager is older than the one of docker-compose.yml: it reads no address from a file.
    (tmp_path / "alertmanager.yml").write_text(told.replace("url_file: /run/secrets/alerts_url", "url: http://a.test/"))
    for severity in ("critical", "warning"):
        command = ["amtool", "config", "routes", "test", f"--config.file={tmp_path / 'alertmanager.yml'}"]
        answer = subprocess.run([*command, f"severity={severity}"], capture_output=True, text=True, timeout=60)
        assert answer.stdout.split() == ["on-call"], answer.stderr


def test_the_proposals_alerts_keep_their_words():
    rules = {rule["alert"]: rule for rule in RULES}
    down, many = rules["CentrifugoDown"], rules["HighConnectionCount"]
    assert (down["expr"], down["for"], down["labels"]["severity"]) == ('up{job="centrifugo"} == 0', "1m", "critical")
    assert (many["for"], many["labels"]["severity"]) == ("5m", "warning")
    assert many["expr"].endswith("> 8000")
