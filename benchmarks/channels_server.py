"""The comparison: a Django Channels group that every WebSocket joins. `LAYER_REDIS_URL` chooses channels_redis.

uvicorn benchmarks.channels_server:application
"""

import os

from django.conf import settings

REDIS_URL = os.environ.get("LAYER_REDIS_URL", "")
LAYER = (
    {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
    if REDIS_URL
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
)
settings.configure(CHANNEL_LAYERS={"default": LAYER}, INSTALLED_APPS=["channels"], SECRET_KEY="nothing-is-signed")

import django  # noqa: E402

django.setup()

from channels.generic.http import AsyncHttpConsumer  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter  # noqa: E402

GROUP = "everybody"


class Subscriber(AsyncWebsocketConsumer):
    groups = [GROUP]

    async def said(self, message: dict[str, str]) -> None:
        await self.send(text_data=message["text"])


class Publisher(AsyncHttpConsumer):
    async def handle(self, body: bytes) -> None:
        await self.channel_layer.group_send(GROUP, {"type": "said", "text": body.decode()})
        await self.send_response(200, b"{}")


application = ProtocolTypeRouter({"websocket": Subscriber.as_asgi(), "http": Publisher.as_asgi()})
