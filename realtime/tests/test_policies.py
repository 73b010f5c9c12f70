"""Policies as they are shipped, checked and edited."""

import pytest
from django.core.exceptions import ValidationError

from events.models import Event
from realtime.actions import delete_policies, save_policy
from realtime.models import Action, ChannelPolicy, Holder


def generation(person) -> int:
    person.user.refresh_from_db()
    return person.user.access_generation


def test_the_shipped_policies_are_the_contracts(db):
    assert sorted(ChannelPolicy.objects.values_list("role", "action", "pattern")) == sorted(
        [
            ("admin", "subscribe", "admin:*"),
            ("admin", "subscribe", "tenant:*"),
            ("admin", "subscribe", "system:*"),
            ("admin", "publish", "admin:*"),
            ("admin", "publish", "tenant:*"),
            ("admin", "publish", "system:*"),
            ("tenant_admin", "subscribe", "tenant:{tenant_id}:*"),
            ("tenant_admin", "publish", "tenant:{tenant_id}:*"),
            ("tenant_user", "publish", "tenant:{tenant_id}:notifications"),
            ("tenant_user", "subscribe", "tenant:{tenant_id}:dashboard"),
            ("tenant_user", "subscribe", "tenant:{tenant_id}:notifications"),
            ("tenant_user", "subscribe", "tenant:{tenant_id}:billing"),
            ("service", "subscribe", "tenant:{tenant_id}:*"),
            ("service", "publish", "tenant:{tenant_id}:*"),
            ("everyone", "subscribe", "user:{user_id}:inbox"),
            ("everyone", "subscribe", "certification:timer:{user_id}"),
            ("everyone", "subscribe", "certification:results:{user_id}"),
        ]
    )


def test_every_shipped_policy_could_be_saved_in_the_admin(db):
    for policy in ChannelPolicy.objects.all():
        policy.full_clean()


@pytest.mark.parametrize(
    ("role", "pattern", "problem"),
    [
        ("tenant_user", "tenant:{tenant_id}:secrets", "No channel is called that"),
        ("tenant_user", "tenant:{tenant_id}", "No channel is called that"),
        ("tenant_user", "tenant:{tenant_id}:dash*", "No channel is called that"),
        ("admin", "*", "No channel is called that"),
        ("tenant_admin", "tenant:*", "everybody's"),
        ("everyone", "user:*", "everybody's"),
        ("everyone", "certification:*", "everybody's"),
        ("everyone", "tenant:{tenant_id}:dashboard", "has no {tenant_id}"),
        ("service", "user:{user_id}:inbox", "has no {user_id}"),
        ("admin", "tenant:{tenant_id}:dashboard", "has no {tenant_id}"),
        ("tenant_admin", "admin:*", "platform admins only"),
        ("everyone", "admin:platform:events", "platform admins only"),
    ],
)
def test_a_pattern_that_means_nothing_or_too_much_is_refused_in_words(db, role, pattern, problem):
    with pytest.raises(ValidationError, match=problem):
        save_policy(ChannelPolicy(role=role, action=Action.SUBSCRIBE, pattern=pattern), by=None)


def test_taking_a_permission_from_a_role_ends_the_connections_of_everybody_who_had_it(
    alice, bob, charlie, platform_admin
):
    before = [generation(person) for person in (alice, bob, charlie, platform_admin)]
    delete_policies(ChannelPolicy.objects.filter(role=Holder.TENANT_USER, pattern__endswith=":billing"), by=None)
    after = [generation(person) for person in (alice, bob, charlie, platform_admin)]
    assert [new - old for old, new in zip(before, after, strict=True)] == [0, 1, 0, 0]
    revoked = Event.objects.with_scopes_disabled().get(type="access_changed")
    assert revoked.revokes == [[str(bob.user.id), after[1]]]


def test_changing_a_row_takes_from_its_old_role(alice, bob):
    before = generation(alice), generation(bob)
    policy = ChannelPolicy.objects.get(role=Holder.TENANT_ADMIN, action=Action.SUBSCRIBE)
    policy.pattern = "tenant:{tenant_id}:dashboard"
    save_policy(policy, by=None)
    assert (generation(alice), generation(bob)) == (before[0] + 1, before[1])


def test_taking_from_everyone_means_everyone(alice, charlie):
    before = generation(alice), generation(charlie)
    delete_policies(ChannelPolicy.objects.filter(pattern="user:{user_id}:inbox"), by=None)
    assert (generation(alice), generation(charlie)) == (before[0] + 1, before[1] + 1)


def test_giving_more_ends_no_connection(alice, bob):
    before = generation(alice), generation(bob)
    for pattern in ("tenant:{tenant_id}:deployments", "tenant:{tenant_id}:*"):
        save_policy(ChannelPolicy(role=Holder.TENANT_USER, action=Action.SUBSCRIBE, pattern=pattern), by=None)
    assert (generation(alice), generation(bob)) == before


def test_taking_what_another_row_gives_too_ends_no_connection(alice):
    save_policy(
        ChannelPolicy(role=Holder.TENANT_ADMIN, action=Action.SUBSCRIBE, pattern="tenant:{tenant_id}:billing"), by=None
    )
    before = generation(alice)
    delete_policies(ChannelPolicy.objects.filter(role=Holder.TENANT_ADMIN, pattern__endswith=":billing"), by=None)
    assert generation(alice) == before


def test_the_admin_edits_through_the_actions(platform_admin, bob):
    before = generation(bob)
    policy = ChannelPolicy.objects.get(role=Holder.TENANT_USER, pattern="tenant:{tenant_id}:billing")
    page = f"/admin/realtime/channelpolicy/{policy.pk}/"
    too_much = {"role": "tenant_user", "action": "subscribe", "pattern": "tenant:*"}
    refused = platform_admin.post(f"{page}change/", too_much)
    assert b"everybody" in refused.content
    assert generation(bob) == before
    assert platform_admin.post(f"{page}delete/", {"post": "yes"}).status_code == 302
    assert generation(bob) == before + 1


def test_only_platform_admins_edit_policies(alice, stranger):
    for person in (alice, stranger):
        assert person.get("/admin/realtime/channelpolicy/").status_code == 302
