import pytest
from django.core.management import CommandError, call_command

from deployments import actions
from deployments.demo.stacks import offer_demo_stacks
from deployments.models import Stack, Status
from deployments.tests.conftest import ended, log_of
from events.models import Event

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def deploy(acme, alice, platform_admin, settings):
    settings.DEBUG = True
    offer_demo_stacks(by=platform_admin.user)
    return lambda slug, **values: actions.request_deployment(acme, actions.offered_stack(slug), values, by=alice.user)


def test_the_static_site_is_built_served_checked_and_its_secret_stays_one(runner, deploy):
    deployment = ended(deploy("web", PAGES=3, ANALYTICS_KEY="UA-12345678"), seconds=30)
    assert (deployment.status, deployment.reason) == (Status.COMPLETED, "")
    text = "\n".join(text for _, text in log_of(deployment))
    assert "Analytics key: [redacted]" in text
    assert text.count("\x1b[32m200\x1b[0m") == 3
    assert "Stopped serving." in text


def test_the_broken_one_fails_half_way(runner, deploy):
    deployment = ended(deploy("broken"))
    assert deployment.reason == "Step Link ended with exit code 1."
    assert [step["status"] for step in deployment.steps] == ["completed", "failed", "skipped"]


def test_ten_thousand_coloured_lines_come_whole_and_in_few_events(runner, deploy):
    deployment = ended(deploy("colours"), seconds=60)
    lines = [text for _, text in log_of(deployment)]
    assert len(lines) == 10_000
    assert all(f"{number:>6}\x1b[0m" in line for number, line in enumerate(lines, start=1))
    events = Event.objects.with_scopes_disabled().filter(type="deployment_log").count()
    assert events < 200


def test_the_stacks_are_offered_once_and_only_with_debug(deploy, settings):
    call_command("demo_stacks")
    assert [(stack.slug, stack.version) for stack in Stack.objects.order_by("slug")] == [
        ("broken", 1),
        ("colours", 1),
        ("web", 1),
    ]
    settings.DEBUG = False
    with pytest.raises(CommandError, match="DEBUG"):
        call_command("demo_stacks")


def test_the_demo_offers_them(db, settings):
    settings.DEBUG = True
    call_command("demo")
    assert Stack.objects.offered().count() == 3
