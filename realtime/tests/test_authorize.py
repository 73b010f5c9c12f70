"""Who may listen to what, and publish on what: the table, and what must hold whatever the policies say."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events import channels
from events.channels import Topic
from realtime.models import Action, ChannelPolicy, Holder
from realtime.policies import Standing, authorize
from tenants.actions import remove_member, revoke_api_key, suspend
from tenants.models import Membership, Role

SUBSCRIBE, PUBLISH = Action.SUBSCRIBE, Action.PUBLISH


def may(principal, action, channel) -> bool:
    return authorize(principal, action, channel).allowed


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("topic", Topic)
def test_alice_has_every_channel_of_her_tenant_and_none_of_another(alice, acme, globex, action, topic):
    assert may(alice.user, action, channels.tenant(acme.id, topic))
    assert may(alice.user, action, channels.deployment(acme.id, uuid4()))
    assert not may(alice.user, action, channels.tenant(globex.id, topic))
    assert not may(alice.user, action, channels.deployment(globex.id, uuid4()))


@pytest.mark.parametrize("topic", Topic)
def test_bob_sees_figures_notices_and_billing_and_publishes_notices_only(bob, acme, topic):
    channel = channels.tenant(acme.id, topic)
    assert may(bob.user, SUBSCRIBE, channel) == (topic in (Topic.DASHBOARD, Topic.NOTIFICATIONS, Topic.BILLING))
    assert may(bob.user, PUBLISH, channel) == (topic == Topic.NOTIFICATIONS)
    assert not may(bob.user, SUBSCRIBE, channels.deployment(acme.id, uuid4()))


@pytest.mark.parametrize("action", Action)
def test_the_platforms_admin_has_the_operations_channels_and_every_tenants(platform_admin, acme, action):
    for channel in (channels.ADMIN_EVENTS, channels.SYSTEM_HEALTH, channels.tenant(acme.id, Topic.ACTIVITY)):
        assert may(platform_admin.user, action, channel)


@pytest.mark.parametrize("channel", [channels.ADMIN_EVENTS, channels.ADMIN_TENANTS, channels.SYSTEM_ALERTS])
def test_nobody_else_has_the_operations_channels(alice, bob, make_key, channel):
    key, _ = make_key("events:read", "events:publish")
    for principal in (alice.user, bob.user, key, AnonymousUser()):
        assert not may(principal, SUBSCRIBE, channel)
        assert not may(principal, PUBLISH, channel)


def test_everyone_has_their_own_inbox_and_exams_and_nobody_elses(alice, bob, platform_admin):
    for build in (channels.inbox, channels.exam_timer, channels.exam_results):
        assert may(bob.user, SUBSCRIBE, build(bob.user.id))
        assert not may(bob.user, PUBLISH, build(bob.user.id))
        assert not may(alice.user, SUBSCRIBE, build(bob.user.id))
        assert not may(platform_admin.user, SUBSCRIBE, build(bob.user.id))


def test_a_person_without_any_tenant_still_has_their_inbox(bob, acme):
    remove_member(Membership.objects.with_scopes_disabled().get(user=bob.user), by=None)
    assert may(bob.user, SUBSCRIBE, channels.inbox(bob.user.id))
    assert not may(bob.user, SUBSCRIBE, channels.tenant(acme.id, Topic.NOTIFICATIONS))


def test_a_disabled_person_has_nothing_the_inbox_included(bob, platform_admin, acme):
    bob.user.is_active = platform_admin.user.is_active = False
    bob.user.save()
    platform_admin.user.save()
    assert not may(bob.user, SUBSCRIBE, channels.inbox(bob.user.id))
    assert not may(bob.user, SUBSCRIBE, channels.tenant(acme.id, Topic.NOTIFICATIONS))
    assert not may(platform_admin.user, SUBSCRIBE, channels.ADMIN_EVENTS)


def test_a_suspended_tenants_people_and_keys_have_none_of_its_channels(alice, acme, make_key):
    key, _ = make_key("events:read")
    suspend(acme, by=None)
    key.refresh_from_db()
    assert not may(alice.user, SUBSCRIBE, channels.tenant(acme.id, Topic.DASHBOARD))
    assert not may(key, SUBSCRIBE, channels.tenant(acme.id, Topic.DASHBOARD))


def test_a_stranger_has_nothing(stranger, acme):
    for channel in (channels.tenant(acme.id, Topic.DASHBOARD), channels.inbox(uuid4()), channels.SYSTEM_HEALTH):
        assert not may(AnonymousUser(), SUBSCRIBE, channel)


def test_a_key_reads_and_publishes_in_its_own_tenant_as_far_as_its_scopes_go(acme, globex, make_key):
    reader, _ = make_key("events:read")
    writer, _ = make_key("events:publish")
    mine, theirs = (channels.tenant(tenant.id, Topic.NOTIFICATIONS) for tenant in (acme, globex))
    assert [may(key, action, mine) for key in (reader, writer) for action in Action] == [True, False, False, True]
    assert not may(reader, SUBSCRIBE, theirs)
    assert not may(writer, PUBLISH, theirs)
    assert authorize(reader, PUBLISH, mine).reason == "This API key lacks the scope events:publish."


def test_a_revoked_and_an_expired_key_have_nothing(acme, make_key):
    revoked, _ = make_key("events:read")
    revoke_api_key(revoked, by=None)
    revoked.refresh_from_db()
    expired, _ = make_key("events:read", expiry_date=timezone.now() - timedelta(seconds=1))
    for key in (revoked, expired):
        assert not may(key, SUBSCRIBE, channels.tenant(acme.id, Topic.DASHBOARD))


def test_a_role_in_one_tenant_is_no_role_in_another(bob, globex):
    Membership.objects.create(tenant=globex, user=bob.user, role=Role.TENANT_ADMIN)
    assert may(bob.user, SUBSCRIBE, channels.tenant(globex.id, Topic.ACTIVITY))
    mine = Membership.objects.with_scopes_disabled().exclude(tenant=globex).get(user=bob.user)
    assert not may(bob.user, SUBSCRIBE, channels.tenant(mine.tenant_id, Topic.ACTIVITY))


def test_without_policies_everything_is_denied(alice, platform_admin, acme):
    ChannelPolicy.objects.all().delete()
    assert not may(alice.user, SUBSCRIBE, channels.tenant(acme.id, Topic.DASHBOARD))
    assert not may(alice.user, SUBSCRIBE, channels.inbox(alice.user.id))
    assert not may(platform_admin.user, SUBSCRIBE, channels.ADMIN_EVENTS)


def test_a_denial_says_why_and_who_can_change_it(alice, bob, acme):
    assert alice.user.name == "Alice"
    decision = authorize(bob.user, SUBSCRIBE, channels.deployment(acme.id, uuid4()))
    assert decision.reason == "Your role in Acme can't see logs. Alice can change that."
    assert decision.rule == "no policy lets tenant_user subscribe tenant:{tenant_id}:deployments:{object_id}"


def test_a_tenants_admin_is_sent_to_the_platforms(alice, acme):
    ChannelPolicy.objects.filter(role=Holder.TENANT_ADMIN).delete()
    decision = authorize(alice.user, SUBSCRIBE, channels.tenant(acme.id, Topic.BILLING))
    assert decision.reason == "Your role in Acme can't see billing. A platform admin can change that."


def test_another_tenants_channel_is_denied_in_the_words_for_one_that_never_existed(charlie, acme):
    existing = authorize(charlie.user, SUBSCRIBE, channels.tenant(acme.id, Topic.BILLING))
    never = authorize(charlie.user, SUBSCRIBE, channels.tenant(uuid4(), Topic.BILLING))
    assert existing == never
    assert "Acme" not in existing.reason


def test_what_allowed_it_is_named(alice, acme):
    decision = authorize(alice.user, SUBSCRIBE, channels.tenant(acme.id, Topic.BILLING))
    assert decision.rule == "tenant_admin may subscribe tenant:{tenant_id}:*"


def test_many_decisions_cost_two_queries(bob, acme, django_assert_num_queries):
    with django_assert_num_queries(2):
        standing = Standing(bob.user)
        for topic in (Topic.DASHBOARD, Topic.NOTIFICATIONS, Topic.BILLING):
            assert authorize(bob.user, SUBSCRIBE, channels.tenant(acme.id, topic), standing).allowed


def test_a_standing_answers_for_its_own_person_only(alice, bob, acme):
    with pytest.raises(ValueError, match="somebody else"):
        authorize(bob.user, SUBSCRIBE, channels.tenant(acme.id, Topic.ACTIVITY), Standing(alice.user))


# --- Whatever stands in the table of policies -------------------------------------------------------------------------

patterns = st.one_of(
    st.sampled_from(
        ["*", "tenant:*", "tenant:{tenant_id}:*", "user:*", "admin:*", "certification:*", "system:*", ":*"]
    ),
    st.sampled_from(sorted(channels.templates().values())),
    st.text(alphabet="tenant:*{_id}user", max_size=30),
)
rows = st.lists(
    st.tuples(st.sampled_from(Holder.values), st.sampled_from(Action.values), patterns), max_size=15, unique=True
)
LONG_LIVED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@LONG_LIVED
@given(rows=rows)
def test_no_policy_gives_charlie_anything_of_acmes_or_bobs(charlie, bob, acme, make_key_once, rows):
    """Rows as nobody could save them in the admin: written around every check."""
    ChannelPolicy.objects.all().delete()
    ChannelPolicy.objects.bulk_create(ChannelPolicy(role=r, action=a, pattern=p) for r, a, p in rows)
    theirs = [
        *(channels.tenant(acme.id, topic) for topic in Topic),
        channels.deployment(acme.id, uuid4()),
        channels.inbox(bob.user.id),
        channels.exam_timer(bob.user.id),
        channels.exam_results(bob.user.id),
    ]
    for principal in (charlie.user, make_key_once):
        standing = Standing(principal)
        for action in Action:
            assert not [c for c in theirs if authorize(principal, action, c, standing).allowed]


@LONG_LIVED
@given(rows=rows)
def test_what_is_allowed_is_allowed_by_a_row(alice, acme, rows):
    ChannelPolicy.objects.all().delete()
    ChannelPolicy.objects.bulk_create(ChannelPolicy(role=r, action=a, pattern=p) for r, a, p in rows)
    standing = Standing(alice.user)
    for action in Action:
        for topic in Topic:
            decision = authorize(alice.user, action, channels.tenant(acme.id, topic), standing)
            mine = {pattern for role, of, pattern in rows if (role, of) == ("tenant_admin", action)}
            fitting = mine & {f"tenant:{{tenant_id}}:{topic}", "tenant:*", "tenant:{tenant_id}:*"}
            assert decision.allowed == bool(fitting)
            assert not decision.allowed or decision.rule.rpartition(" ")[2] in fitting


@pytest.fixture
def make_key_once(globex, make_key):
    key, _ = make_key("events:read", "events:publish", tenant=globex)
    return key
