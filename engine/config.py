"""Centrifugo's configuration file, as far as this engine can honour it.

Every option that is accepted is acted on. An option that is not known here, and a value that this engine cannot honour,
are errors naming the option's full path: a setting that is silently ignored would be a difference between the engines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

_NAMESPACE_NAME = re.compile(r"^[-a-zA-Z0-9_.]{2,}$")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class ConfigError(ValueError):
    """The configuration cannot be used. The message has a line for each mistake, beginning with the option's path."""


def seconds(duration: object) -> float:
    """Seconds of a duration written as Go writes it: "25s", "1m30s", "500ms", "720h". Raises ValueError."""
    if isinstance(duration, int | float) and not isinstance(duration, bool) and duration == 0:
        return 0.0
    if not isinstance(duration, str):
        raise ValueError('a duration is text with a unit, such as "25s" or "1h"')
    parts = _DURATION_PART.findall(duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise ValueError(f'"{duration}" is not a duration: write a number and a unit, such as "25s" or "1h"')
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


Duration = Annotated[float, BeforeValidator(seconds)]
"""In seconds."""


def _check_regex(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f'channel_regex "{pattern}": {error}') from None


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HttpServer(Section):
    address: str = "127.0.0.1"
    port: int = 8000


class HttpApi(Section):
    key: str = ""
    handler_prefix: str = "/api"
    insecure: bool = False


class Token(Section):
    hmac_secret_key: str = ""
    jwks_public_endpoint: str = ""
    audience: str = ""
    issuer: str = ""

    @model_validator(mode="after")
    def _plain_endpoint(self) -> Token:
        endpoint = self.jwks_public_endpoint
        if endpoint and (not endpoint.startswith(("http://", "https://")) or "{{" in endpoint):
            raise ValueError("jwks_public_endpoint must be an http:// or https:// address without variables")
        return self


class SubscriptionToken(Token):
    enabled: bool = False


class ProxyHttp(Section):
    static_headers: dict[str, str] = {}


class ConnectProxy(Section):
    enabled: bool = False
    endpoint: str = ""
    timeout: Duration = 1.0
    http_headers: tuple[str, ...] = ()
    http: ProxyHttp = ProxyHttp()

    @model_validator(mode="after")
    def _has_an_endpoint(self) -> ConnectProxy:
        if self.enabled and not self.endpoint.startswith(("http://", "https://")):
            raise ValueError("endpoint must be an http:// or https:// address when the proxy is enabled")
        return self


class Proxies(Section):
    connect: ConnectProxy = ConnectProxy()


class Client(Section):
    insecure: bool = False
    allowed_origins: tuple[str, ...] = ()
    allow_anonymous_connect_without_token: bool = False
    token: Token = Token()
    subscription_token: SubscriptionToken = SubscriptionToken()
    proxy: Proxies = Proxies()
    ping_interval: Duration = 25.0
    pong_timeout: Duration = 8.0
    stale_close_delay: Duration = 10.0
    expired_close_delay: Duration = 25.0
    expired_sub_close_delay: Duration = 25.0
    channel_limit: int = 128
    user_connection_limit: int = 0
    queue_max_size: int = 1_048_576
    history_max_publication_limit: int = 300
    recovery_max_publication_limit: int = 300

    @model_validator(mode="after")
    def _pong_before_the_next_ping(self) -> Client:
        if self.ping_interval and self.pong_timeout >= self.ping_interval:
            raise ValueError("pong_timeout must be shorter than ping_interval")
        return self


class WebSocket(Section):
    handler_prefix: str = "/connection/websocket"
    message_size_limit: int = 65_536
    write_timeout: Duration = 1.0
    # Centrifugo's memory for each connection. Here uvicorn has the sockets: taken, and of no effect.
    read_buffer_size: int = 0
    write_buffer_size: int = 0
    use_write_buffer_pool: bool = False


class ChannelOptions(Section):
    history_size: int = 0
    history_ttl: Duration = 0.0
    history_meta_ttl: Duration = 0.0
    force_positioning: bool = False
    allow_positioning: bool = False
    force_recovery: bool = False
    allow_recovery: bool = False
    force_recovery_mode: Literal["", "stream"] = ""
    allow_subscribe_for_client: bool = False
    allow_subscribe_for_anonymous: bool = False
    allow_publish_for_subscriber: bool = False
    allow_publish_for_client: bool = False
    allow_publish_for_anonymous: bool = False
    allow_history_for_subscriber: bool = False
    allow_history_for_client: bool = False
    allow_history_for_anonymous: bool = False
    allow_presence_for_subscriber: bool = False
    allow_presence_for_client: bool = False
    allow_presence_for_anonymous: bool = False
    allow_user_limited_channels: bool = False
    presence: bool = False
    join_leave: bool = False
    force_push_join_leave: bool = False
    channel_regex: str = ""

    @model_validator(mode="after")
    def _complete_history(self) -> ChannelOptions:
        if bool(self.history_size) != bool(self.history_ttl):
            raise ValueError("history_size and history_ttl are needed together")
        if self.force_recovery and not self.has_history:
            raise ValueError("force_recovery needs history_size and history_ttl")
        if self.history_meta_ttl and self.history_ttl > self.history_meta_ttl:
            raise ValueError("history_ttl cannot be longer than history_meta_ttl")
        _check_regex(self.channel_regex)
        return self

    @property
    def has_history(self) -> bool:
        return self.history_size > 0 and self.history_ttl > 0

    def matches(self, rest: str) -> bool:
        """Whether a channel's name after its namespace is one that clients may use."""
        return not self.channel_regex or re.search(self.channel_regex, rest) is not None


class Namespace(ChannelOptions):
    name: str

    @model_validator(mode="after")
    def _usable_name(self) -> Namespace:
        if not _NAMESPACE_NAME.match(self.name):
            raise ValueError(f'name "{self.name}" must be two or more letters, digits, "-", "_" or "."')
        return self


class Channel(Section):
    without_namespace: ChannelOptions = ChannelOptions()
    namespaces: tuple[Namespace, ...] = ()
    history_meta_ttl: Duration = 720 * 3600.0
    max_length: int = 255

    @model_validator(mode="after")
    def _names_once(self) -> Channel:
        names = [namespace.name for namespace in self.namespaces]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"namespaces with the same name: {', '.join(twice)}")
        return self


class Health(Section):
    enabled: bool = False
    handler_prefix: str = "/health"


class Log(Section):
    level: Literal["trace", "debug", "info", "warn", "error", "none"] = "info"


class Shutdown(Section):
    timeout: Duration = 30.0


class EngineType(Section):
    type: Literal["memory"] = "memory"


class Config(Section):
    http_server: HttpServer = HttpServer()
    http_api: HttpApi = HttpApi()
    client: Client = Client()
    websocket: WebSocket = WebSocket()
    channel: Channel = Channel()
    health: Health = Health()
    log: Log = Log()
    shutdown: Shutdown = Shutdown()
    engine: EngineType = EngineType()

    @classmethod
    def of(cls, source: Mapping[str, Any]) -> Config:
        """Read a parsed configuration file. Raises ConfigError naming every option that is wrong."""
        try:
            return cls.model_validate(source)
        except ValidationError as error:
            raise ConfigError("\n".join(_explain(error))) from None

    @classmethod
    def load(cls, path: Path) -> Config:
        """Read a JSON configuration file. Raises ConfigError, also where the file is missing or is not JSON."""
        try:
            source = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: {error}") from None
        if not isinstance(source, dict):
            raise ConfigError(f"{path}: a configuration is a JSON object")
        return cls.of(source)


def _explain(error: ValidationError) -> Iterator[str]:
    for mistake in error.errors():
        path = _path(mistake["loc"])
        if mistake["type"] == "extra_forbidden":
            yield f"{path}: this engine knows no such option"
        else:
            yield f"{path}: {mistake['msg'].removeprefix('Value error, ')}" if path else mistake["msg"]


def _path(location: tuple[int | str, ...]) -> str:
    """("channel", "namespaces", 0, "name") as "channel.namespaces[0].name"."""
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
