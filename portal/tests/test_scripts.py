"""The budget of the pages' scripts and styles, and what scripts must not do."""

import gzip
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "static"
CSS_BUDGET_KB = 40
JS_BUDGET_KB = 80
JS_WITH_CHARTS_BUDGET_KB = 105


def gzipped_kb(*patterns: str, but: frozenset[str] | set[str] = frozenset()) -> float:
    files = [path for pattern in patterns for path in STATIC.glob(pattern) if path.name not in but]
    assert files
    return sum(len(gzip.compress(path.read_bytes())) for path in files) / 1024


#: What every page loads, and what some load besides: one of these at a time (see templates, block "styles").
STYLES_OF_ALL = ("vendor/*.css", "css/neo.css")
STYLES_OF_SOME = ("css/ops.css", "css/log.css", "css/home.css", "css/billing.css", "css/preferences.css")


@pytest.mark.parametrize("more", STYLES_OF_SOME)
def test_styles_of_a_page_stay_within_the_budget(more):
    assert gzipped_kb(*STYLES_OF_ALL, more) < CSS_BUDGET_KB


def test_every_style_is_counted():
    counted = {"neo.css", *(Path(style).name for style in STYLES_OF_SOME)}
    assert {path.name for path in STATIC.glob("css/*.css")} == counted


#: What some pages load, one of these at a time. A script that stands in none of them counts for every page.
SCRIPTS_OF_SOME = {
    "charts": {"chart.js", "uplot.js"},
    "a deployment": {"log.js", "ansi.js", "journey.js"},
    "the inbox": {"inbox.js"},
    "operations, home and tenants": {"ops.js"},
    "operations, lists of all tenants": {"tenants.js"},
    "operations, dead letters": {"batches.js"},
}


@pytest.mark.parametrize("kind", SCRIPTS_OF_SOME)
def test_scripts_of_a_page_stay_within_the_budget(kind):
    others = set().union(*(scripts for other, scripts in SCRIPTS_OF_SOME.items() if other != kind))
    budget = JS_WITH_CHARTS_BUDGET_KB if kind == "charts" else JS_BUDGET_KB
    assert gzipped_kb("js/*.js", "vendor/*.js", but=others) < budget


def test_no_script_builds_html_from_strings_or_evaluates_text():
    forbidden = ("innerHTML", "outerHTML =", "insertAdjacentHTML", "document.write", "eval(", "new Function")
    found = [
        f"{path.name}: {word}" for path in STATIC.glob("js/*.js") for word in forbidden if word in path.read_text()
    ]
    assert found == []
