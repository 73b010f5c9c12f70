"""The embedded engine mounted beside Django with Channels' routing, as the platform does it."""

from __future__ import annotations

from typing import Any

import pytest
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import re_path

from engine.asgi import build
from engine.tests.conformance.servers import config
from engine.tests.test_mounting import connected, post


@pytest.fixture
def mounted() -> Any:
    engine = build(config(8000))
    return ProtocolTypeRouter(
        {
            "http": URLRouter([re_path(r"^engine/api/", engine)]),
            "websocket": URLRouter([re_path(r"^connection/websocket$", engine)]),
        }
    )


async def test_mounted_by_channels_it_publishes_to_who_subscribes(mounted: Any) -> None:
    alice = await connected(mounted)
    assert (await alice.subscribe("tenant:a"))["recoverable"] is True
    assert (await post(mounted, "publish", {"channel": "tenant:a", "data": "live"}))["result"]["offset"] == 1
    assert (await alice.message())["push"]["pub"]["data"] == "live"
    await alice.leave()
