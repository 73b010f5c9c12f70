"""The operations portal over all tenants: deployments, events with their journey, dead letters, who may see what."""

import json
from datetime import UTC, datetime, timedelta
from html import unescape
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_scopes import scopes_disabled

from accounts import actions as accounts
from conftest import Person
from deployments import actions as deployments
from deployments.events import DeploymentLog
from deployments.models import Deployment, LogBlock, Stack
from deployments.rows import PAGE_SIZE
from events import ids, numbering
from events.channels import Topic, deployment, inbox, tenant
from events.emit import emit
from events.models import DeadLetter, Entry, Event
from portal.ops.dead_letters import BATCH
from realtime.models import Action, ChannelPolicy
from realtime.policies import authorize
from tenants import actions as tenants
from tenants.events import Change, TenantUpdated
from tenants.models import Membership, Role

LIST = "/ops/deployments/"


def text(response) -> str:
    return response.content.decode()


@pytest.fixture
def stack(platform_admin) -> Stack:
    steps = [{"name": "say", "command": ["echo", "hello"]}]
    return deployments.approve(Stack.objects.create(slug="web", name="Web", steps=steps), by=platform_admin.user)


@pytest.fixture
def acme_deployment(acme, alice, stack) -> Deployment:
    return deployments.request_deployment(acme, stack, {}, by=alice.user, name="shop")


@pytest.fixture
def globex_deployment(globex, charlie, stack) -> Deployment:
    return deployments.request_deployment(globex, stack, {}, by=charlie.user, name="blog")


# --- Deployments ------------------------------------------------------------------------------------------------------


def test_ada_sees_the_deployments_of_every_tenant_newest_first(platform_admin, acme_deployment, globex_deployment):
    page = text(platform_admin.get(LIST))
    assert page.index("blog #1") < page.index("shop #1")
    assert f'href="{LIST}{acme_deployment.id}/"' in page


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("?tenant=acme", {"shop"}),
        ("?tenant=never-used", {"shop", "blog"}),
        ("?stack=web", {"shop", "blog"}),
        ("?q=blo", {"blog"}),
        ("?status=failed", set()),
        ("?status=active&tenant=globex", {"blog"}),
        ("?tenant=%00acme&status=nonsense", {"shop"}),
        ("?before=nonsense", {"shop", "blog"}),
    ],
)
def test_she_filters_them(platform_admin, acme_deployment, globex_deployment, address, found):
    page = text(platform_admin.get(LIST + address))
    assert {name for name in ("shop", "blog") if f"{name} #1" in page} == found


def test_each_waits_in_its_own_tenants_queue(platform_admin, acme, alice, stack, acme_deployment, globex_deployment):
    deployments.request_deployment(acme, stack, {}, by=alice.user)
    page = text(platform_admin.get(LIST))
    assert page.count("1st in the queue") == 2
    assert page.count("2nd in the queue") == 1


def test_pages_are_cut_between_tenants_without_a_gap(platform_admin, acme, globex, alice, charlie, stack):
    for _ in range(PAGE_SIZE // 2 + 2):
        deployments.request_deployment(acme, stack, {}, by=alice.user)
        deployments.request_deployment(globex, stack, {}, by=charlie.user)
    with scopes_disabled():
        expected = [str(pk) for pk in Deployment.objects.order_by("-id").values_list("id", flat=True)]
    first = platform_admin.get(LIST).context["page"]
    second = platform_admin.get(f"{LIST}?before={first.older}").context["page"]
    assert [row.id for row in first.rows + second.rows] == expected
    assert [row.id for row in platform_admin.get(f"{LIST}?after={second.newer}").context["page"].rows] == [
        row.id for row in first.rows
    ]


def test_one_deployment_shows_its_steps_digest_and_the_journey_of_its_last_event(platform_admin, acme_deployment):
    page = text(platform_admin.get(f"{LIST}{acme_deployment.id}/"))
    assert acme_deployment.release.digest in page
    assert "Waits to be numbered" in page
    with scopes_disabled():
        event = Event.objects.get(type="deployment_update")
    assert f"/ops/events/{event.uuid}/" in page


def test_one_that_never_was_is_not_there(platform_admin):
    assert platform_admin.get(f"{LIST}{uuid4()}/").status_code == 404


def test_she_reads_its_log_as_long_as_a_policy_lets_her_listen_to_it(platform_admin, acme_deployment):
    with scopes_disabled():
        LogBlock.objects.create(
            tenant=acme_deployment.tenant,
            deployment=acme_deployment,
            first_line=1,
            line_count=1,
            at=timezone.now(),
            level="info",
            text="hello from acme",
        )
        Deployment.objects.filter(pk=acme_deployment.pk).update(line_count=1)
    page = f"{LIST}{acme_deployment.id}/"
    assert "hello from acme" in text(platform_admin.get(page))
    assert platform_admin.get(f"{page}log/lines/").json()["last"] == 1
    assert platform_admin.get(f"{page}log/search/?q=hello").json()["matches"] == [1]
    assert text(platform_admin.get(f"{page}log/")) == "hello from acme\n"
    ChannelPolicy.objects.filter(role="admin", pattern="tenant:*").delete()
    assert "hello from acme" not in text(platform_admin.get(page))
    assert {platform_admin.get(f"{page}log/{what}").status_code for what in ("", "lines/", "search/")} == {404}


# --- Events -----------------------------------------------------------------------------------------------------------

EVENTS = "/ops/events/"


@pytest.fixture
def log(acme_deployment, globex_deployment) -> dict[str, Entry]:
    """Three numbered events: acme's deployment, globex's deployment, a change of acme itself."""
    emit(TenantUpdated.of(acme_deployment.tenant, Change.SETTINGS), by=None)
    numbering.number()
    with scopes_disabled():
        entries = {entry.event.summary: entry for entry in Entry.objects.select_related("event")}
    return {name: next(entries[said] for said in entries if name in said) for name in ("shop", "blog", "settings")}


def shown(person: Person, address: str, log: dict[str, Entry]) -> set[str]:
    page = text(person.get(EVENTS + address))
    return {name for name, entry in log.items() if f'data-key="{entry.event.uuid}"' in page}


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("", {"shop", "blog", "settings"}),
        ("?type=deployment_update", {"shop", "blog"}),
        ("?tenant=acme", {"shop", "settings"}),
        ("?tenant=globex&type=tenant_updated", set()),
        ("?type=nonsense", {"shop", "blog", "settings"}),
        ("?dead=1", set()),
        ("?id=nonsense", set()),
        ("?id=%00", {"shop", "blog", "settings"}),
        ("?before=1", set()),
        (f"?before={'9' * 30}", {"shop", "blog", "settings"}),
    ],
)
def test_the_log_is_a_list_with_filters(platform_admin, log, address, found):
    assert shown(platform_admin, address, log) == found


def test_an_event_is_found_by_its_id_by_its_number_and_by_its_dead_letter(platform_admin, log):
    entry = log["blog"]
    assert shown(platform_admin, f"?id={entry.event.uuid}", log) == {"blog"}
    assert shown(platform_admin, f"?id={entry.seq}", log) == {"blog"}
    DeadLetter.objects.create(cursor="handler:gone", event=entry.event, error="Away")
    assert shown(platform_admin, "?dead=1", log) == {"blog"}


def test_log_lines_are_in_the_list_when_asked_for_only(platform_admin, acme_deployment):
    ids_of = {"tenant_id": acme_deployment.tenant_id, "deployment_id": acme_deployment.id}
    emit(DeploymentLog(**ids_of, line=1, log="hello", level="info"), by=None)
    numbering.number()
    assert "deployment_log</td>" not in text(platform_admin.get(EVENTS))
    page = text(platform_admin.get(f"{EVENTS}?type=deployment_log"))
    assert "deployment_log</td>" in page
    assert 'data-types=""' in page  # these are not told on the platform's channel


def test_an_event_shows_its_payload_and_says_while_it_is_not_numbered(platform_admin, acme_deployment):
    with scopes_disabled():
        event = Event.objects.get(type="deployment_update")
    page = text(platform_admin.get(f"{EVENTS}{event.uuid}/"))
    assert "Not numbered yet" in page
    assert 'data-complete=""' in page
    assert json.dumps(event.payload["data"]["title"]) in unescape(page)
    numbering.number()
    page = text(platform_admin.get(f"{EVENTS}{event.uuid}/"))
    assert "Not numbered yet" not in page
    assert "Numbered 1" in page
    assert " ms after" in page
    assert f'href="{LIST}{acme_deployment.id}/"' in page


@pytest.mark.parametrize(
    ("days", "says"),
    [
        (500, "events are kept 400 days"),
        (50, "Pruned, if it was one of deployment_log"),
        (1, "An event of that age would still be here"),
    ],
)
def test_the_id_of_an_event_that_is_gone_tells_since_when(platform_admin, days, says):
    response = platform_admin.get(f"{EVENTS}{made_days_ago(days)}/")
    assert response.status_code == 404
    assert says in text(response)


def made_days_ago(days: float) -> UUID:
    first = ids.first_at(timezone.now() - timedelta(days=days))
    return UUID(int=first.int | 7 << 76 | 2 << 62)


def test_an_id_that_is_none_of_ours_is_said_to_be_none(platform_admin):
    assert "It is not an id of ours" in text(platform_admin.get(f"{EVENTS}{uuid4()}/"))


def test_an_id_tells_when_it_was_made():
    before = datetime.now(UTC)
    made = ids.made_at(ids.new_id())
    assert abs(made - before) < timedelta(seconds=5)
    assert ids.first_at(made) <= ids.new_id()
    assert ids.made_at(uuid4()) is None


# --- Dead letters -----------------------------------------------------------------------------------------------------

LETTERS = "/ops/dead-letters/"


def leave_behind(entry: Entry, *cursors: str) -> list[DeadLetter]:
    return [DeadLetter.objects.create(cursor=cursor, event=entry.event, error="It was away.") for cursor in cursors]


def test_ada_delivers_a_dead_letter_after_all(platform_admin, log):
    (letter,) = leave_behind(log["shop"], "handler:notify_of_deployments")
    event_page = f"{EVENTS}{log['shop'].event.uuid}/"
    assert "It was away." in text(platform_admin.get(event_page))
    response = platform_admin.post(f"{LETTERS}{letter.pk}/retry/")
    assert response["Location"] == event_page
    assert "Delivered" in text(platform_admin.get(event_page))
    letter.refresh_from_db()
    assert (letter.resolution, letter.resolved_by) == ("retried", "Ada")


def test_what_fails_again_waits_with_its_new_reason(platform_admin, log):
    (letter,) = leave_behind(log["shop"], "handler:gone")
    platform_admin.post(f"{LETTERS}{letter.pk}/retry/", {"back": "list"})
    page = text(platform_admin.get(LETTERS))
    assert "It failed again and waits as before" in page
    letter.refresh_from_db()
    assert (letter.is_waiting, letter.attempts) == (True, 2)


def test_what_was_skipped_is_not_delivered_and_said_to_be_resolved(platform_admin, log):
    (letter,) = leave_behind(log["shop"], "handler:gone")
    platform_admin.post(f"{LETTERS}{letter.pk}/skip/")
    letter.refresh_from_db()
    assert letter.resolution == "skipped"
    response = platform_admin.client.post(f"{LETTERS}{letter.pk}/retry/", follow=True)
    assert "somebody has resolved it already (Skipped)" in text(response)


def test_all_that_waits_is_tried_once_in_bounded_batches(platform_admin, log):
    failing = leave_behind(log["shop"], *(f"handler:gone_{number}" for number in range(BATCH + 3)))
    leave_behind(log["blog"], "handler:notify_of_deployments")
    said = {"delivered": 0, "failed": 0, "left": 1, "triedTo": 0}
    batches = 0
    while said["left"]:
        batches += 1
        response = platform_admin.post(
            f"{LETTERS}retry/", {"tried_to": said["triedTo"]}, headers={"Accept": "application/json"}
        )
        said = {name: response.json()[name] + said[name] * (name in ("delivered", "failed")) for name in said}
    assert (batches, said["delivered"], said["failed"]) == (2, 1, len(failing))
    assert set(DeadLetter.objects.filter(resolution="").values_list("attempts", flat=True)) == {2}


def test_without_javascript_each_press_tries_one_batch_and_says_where_it_goes_on(platform_admin, log):
    letters = leave_behind(log["shop"], *(f"handler:gone_{number}" for number in range(BATCH + 1)))
    response = platform_admin.post(f"{LETTERS}retry/")
    assert response["Location"] == f"{LETTERS}?consumer=&tried_to={letters[BATCH - 1].pk}"
    page = text(platform_admin.get(response["Location"]))
    assert f"0 delivered, {BATCH} failed again and wait as before, 1 not tried yet." in page
    assert "Retry the next 1" in page


def test_only_one_consumers_are_tried_when_she_chose_it(platform_admin, log):
    mine, other = leave_behind(log["shop"], "handler:gone", "handler:away")
    page = text(platform_admin.get(f"{LETTERS}?consumer=handler:gone"))
    assert f"{LETTERS}{mine.pk}/retry/" in page
    assert f"{LETTERS}{other.pk}/retry/" not in page
    platform_admin.post(f"{LETTERS}retry/", {"consumer": "handler:gone"})
    other.refresh_from_db()
    assert other.attempts == 1


# --- Access -----------------------------------------------------------------------------------------------------------

ACCESS = "/ops/access/"


def ask(person: Person, **question: str) -> str:
    return unescape(text(person.get(ACCESS, data={"action": "subscribe"} | question)))


def test_a_denial_is_the_answer_with_its_rule_and_what_would_change_it(platform_admin, alice, bob, acme):
    page = ask(platform_admin, who="bob@acme.example", channel=tenant(acme.id, Topic.DEPLOYMENTS).name)
    assert "Denied" in page
    assert "no policy lets tenant_user subscribe tenant:{tenant_id}:deployments" in page
    assert "“Your role in Acme can't see deployments. Alice can change that.”" in page
    assert "Being Tenant admin of Acme: tenant_admin may subscribe tenant:{tenant_id}:*." in page
    assert "Tenant user of Acme" in page


def test_what_is_allowed_names_the_policy_that_allows_it(platform_admin, bob, acme):
    page = ask(platform_admin, who="BOB@acme.example", tenant="acme", topic="dashboard")
    assert "Allowed" in page
    assert "tenant_user may subscribe tenant:{tenant_id}:dashboard" in page


def test_the_table_says_what_authorize_says(platform_admin, bob, acme):
    response = platform_admin.get(f"{ACCESS}?who=bob&action=subscribe&tenant=acme")
    channels = [tenant(acme.id, topic) for topic in Topic] + [deployment(acme.id, UUID(int=0))]
    for (_, cells), channel in zip(response.context["matrix"], channels, strict=True):
        for cell, action in zip(cells, Action, strict=True):
            assert cell.decision == authorize(bob.user, action, channel)


def test_a_suspended_tenant_a_disabled_person_and_another_persons_inbox(platform_admin, alice, bob, acme):
    channel = tenant(acme.id, Topic.DASHBOARD).name
    tenants.suspend(acme, by=platform_admin.user)
    assert "Resuming Acme" in ask(platform_admin, who="bob@acme.example", channel=channel)
    tenants.resume(acme, by=platform_admin.user)
    assert "another person's own" in ask(platform_admin, who="bob@acme.example", channel=inbox(alice.user.id).name)
    accounts.disable_person(bob.user, by=platform_admin.user)
    assert "Enabling the account" in ask(platform_admin, who="bob@acme.example", channel=channel)


def test_a_key_is_asked_about_by_its_prefix_and_its_secret_is_refused(platform_admin, alice, acme, globex):
    key, secret = tenants.create_api_key(acme, "ci", ["deployments:read"], by=alice.user)
    channel = tenant(acme.id, Topic.DASHBOARD).name
    assert "A key with the scope events:read" in ask(platform_admin, who=key.prefix, channel=channel)
    assert "this key is for Acme alone" in ask(
        platform_admin, who=key.prefix, channel=tenant(globex.id, Topic.DASHBOARD).name
    )
    page = ask(platform_admin, who=secret, channel=channel)
    assert "a secret must not stand in an address" in page


def test_a_policy_that_is_missing_is_named(platform_admin, bob, acme):
    ChannelPolicy.objects.all().delete()
    page = ask(platform_admin, who="bob@acme.example", channel=tenant(acme.id, Topic.DASHBOARD).name)
    assert "A policy that lets somebody subscribe tenant:{tenant_id}:dashboard: there is none." in page


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ({"who": "nobody-at-all", "channel": "system:health"}, "Nobody has this e-mail or name"),
        ({"who": "acme.example", "channel": "system:health"}, "More than one person fits"),
        ({"who": "bob@acme.example", "channel": "nowhere"}, "is not a channel of this platform"),
        (
            {"who": "bob@acme.example", "channel": f"tenant:{UUID(int=9)}:dashboard"},
            "No tenant has the id in this name",
        ),
        ({"who": "bob@acme.example"}, "Name a channel here, or choose a tenant below"),
        ({"who": "bob@acme.example", "tenant": "never-used"}, "No tenant has “never-used” in its name or address."),
        ({"who": "bob@acme.example", "tenant": "e"}, "Give the whole address of one: acme (Acme), globex (Globex)."),
        ({"who": "bob@acme.example", "channel": "\x00"}, "Null characters are not allowed"),
    ],
)
def test_what_is_unknown_is_said_at_its_field(platform_admin, alice, bob, globex, question, says):
    page = ask(platform_admin, **question)
    assert says in page
    assert "Nothing was looked up." in page


def test_several_people_are_links_to_the_same_question(platform_admin, alice, bob, acme):
    page = ask(platform_admin, who="acme.example", tenant="acme")
    assert "?action=subscribe&who=bob%40acme.example&tenant=acme" in page


# --- What pages cost --------------------------------------------------------------------------------------------------


def queries(person: Person, address: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert person.get(address).status_code == 200, address
    return len(captured)


@pytest.mark.parametrize(
    ("address", "most"),
    [(LIST, 10), (EVENTS, 9), (LETTERS, 8), (f"{LIST}{{deployment}}/", 18), (f"{EVENTS}{{event}}/", 13)],
)
def test_pages_cost_the_same_however_much_there_is(
    platform_admin, acme, globex, alice, charlie, stack, acme_deployment, log, address, most
):
    address = address.format(deployment=acme_deployment.id, event=log["shop"].event.uuid)
    leave_behind(log["shop"], "handler:first")
    few = queries(platform_admin, address)
    assert few <= most
    for number in range(10):
        deployments.request_deployment(acme, stack, {}, by=alice.user)
        deployments.request_deployment(globex, stack, {}, by=charlie.user)
        leave_behind(log["shop"], f"handler:gone_{number}")
    numbering.number()
    assert queries(platform_admin, address) == few


def test_a_question_costs_the_same_however_many_tenants_somebody_is_in(platform_admin, bob, acme, globex):
    address = f"{ACCESS}?who=bob@acme.example&action=subscribe&tenant=acme&topic=deployments"
    few = queries(platform_admin, address)
    assert few <= 14
    Membership.objects.with_scopes_disabled().create(tenant=globex, user=bob.user, role=Role.TENANT_USER)
    assert queries(platform_admin, address) == few
