import json
from pathlib import Path

import pytest

from portal.figures import value, word
from portal.templatetags.neo import alerts_words, failures_words, needs_words

HERE = Path(__file__).parent
SAMPLES = json.loads((HERE / "figures.json").read_text())
NEEDS = json.loads((HERE / "needs.json").read_text())


@pytest.mark.parametrize(("number", "unit", "expected"), SAMPLES)
def test_a_value_is_said_in_the_words_that_the_scripts_say(number, unit, expected):
    assert value(number, unit) == expected


def test_a_metric_that_nobody_named_is_read_as_it_is_written():
    assert word('requests_total{code="200",method="get"}') == "Requests total, code 200, method get"
    assert [word("cpu_percent"), word("requests_per_second"), word("_")] == ["CPU", "Requests per second", "_"]


@pytest.mark.parametrize(("count", "needs", "failures", "alerts"), NEEDS)
def test_whether_anything_is_wrong_is_said_in_the_words_that_the_scripts_say(count, needs, failures, alerts):
    assert (needs_words(count), failures_words(count), alerts_words(count)) == (needs, failures, alerts)
