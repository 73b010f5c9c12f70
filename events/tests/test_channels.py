import contextlib
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import channels
from events.channels import Channel, InvalidChannel, Topic

ids = st.uuids()
any_channel = st.one_of(
    st.builds(channels.tenant, ids, st.sampled_from(Topic)),
    st.builds(channels.deployment, ids, ids),
    st.builds(channels.inbox, ids),
    st.builds(channels.exam, ids),
    st.builds(channels.exam_timer, ids),
    st.builds(channels.exam_results, ids),
    st.sampled_from([channels.ADMIN_EVENTS, channels.ADMIN_DEPLOYMENTS, channels.SYSTEM_HEALTH]),
)


@given(any_channel)
def test_a_name_parses_back_to_the_channel_it_was_built_from(channel: Channel):
    assert channels.parse(channel.name) == channel


@given(st.text())
def test_any_other_text_is_refused_or_is_a_channels_exact_name(text: str):
    with contextlib.suppress(InvalidChannel):
        assert channels.parse(text).name == text


@pytest.mark.parametrize(
    "name",
    [
        "",
        "tenant:*:dashboard",
        "tenant:acme:dashboard",
        "tenant:{tenant_id}:dashboard",
        "TENANT:00000000-0000-0000-0000-000000000001:dashboard",
        "tenant:00000000-0000-0000-0000-00000000000A:dashboard",
        "tenant:00000000-0000-0000-0000-000000000001:dashboard\n",
        "$tenant:00000000-0000-0000-0000-000000000001:dashboard",
        "user:00000000-0000-0000-0000-000000000001:inbox#1",
        "admin:platform:everything",
    ],
)
def test_a_name_that_is_almost_right_is_refused(name: str):
    with pytest.raises(InvalidChannel):
        channels.parse(name)


def test_names_are_the_contract():
    one = UUID(int=1)
    assert channels.tenant(one, Topic.DASHBOARD).name == f"tenant:{one}:dashboard"
    assert channels.deployment(one, one).name == f"tenant:{one}:deployments:{one}"
    assert channels.inbox(one).name == f"user:{one}:inbox"
