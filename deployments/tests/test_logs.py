import pytest
from django_scopes import scope

from deployments import leases, logs
from deployments.models import Deployment


@pytest.fixture
def log(acme, acme_deployment) -> Deployment:
    """Nine lines in four blocks; the error is line 6."""
    lease = leases.claim("runner")
    at = acme_deployment.created_at
    blocks = [
        leases.OutputBlock(1, 3, "info", "one\n\x1b[32mTwo\x1b[0m\nthree", at),
        leases.OutputBlock(4, 2, "warning", "four\nÉcole", at),
        leases.OutputBlock(6, 1, "error", "it broke", at),
        leases.OutputBlock(7, 3, "info", "\n\ntwo \x1b[1mhundred\x1b[0m", at),
    ]
    leases.append_log(lease, blocks)
    with scope(tenant=acme):
        yield acme_deployment


@pytest.mark.parametrize("after", range(10))
@pytest.mark.parametrize("limit", [1, 4, None])
def test_lines_after_a_number_are_the_next_ones(log, after, limit):
    found = [line.number for line in logs.lines(log, after=after, limit=limit)]
    assert found == list(range(after + 1, 10))[:limit]


def test_the_last_lines_and_the_first_error_are_found(log):
    assert [line.number for line in logs.last_lines(log, 2)] == [8, 9]
    assert logs.line_count(log) == 9
    assert logs.first_error(log) == 6


def test_search_covers_the_whole_log_in_any_case_beside_the_colours(log):
    assert [line.number for line in logs.search(log, "TWO")] == [2, 9]
    assert [line.number for line in logs.search(log, "two hundred")] == [9]
    assert [line.number for line in logs.search(log, "école")] == [5]
    assert logs.search(log, "[32m") == []
    assert [line.number for line in logs.search(log, "", level="warning")] == [4, 5]


def test_a_download_is_complete_with_its_colours_or_without(log):
    assert "".join(logs.download(log)) == "one\nTwo\nthree\nfour\nÉcole\nit broke\n\n\ntwo hundred\n"
    assert "".join(logs.download(log, ansi=True)).count("\x1b[") == 4


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[38;2;1;2;3mred\x1b[0m", "red"),
        ("\x1b]8;;https://x.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;title\x07text", "text"),
        ("a\x1b[2Kb\x1b(Bc", "abc"),
        ("no [31m escape", "no [31m escape"),
    ],
)
def test_colours_and_other_escape_sequences_are_no_text(text, plain):
    assert logs.without_ansi(text) == plain
