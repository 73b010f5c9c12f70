"""`python -m engine -c FILE`: the engine alone, in a process of its own, at the address its configuration names."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import time
from pathlib import Path

import uvicorn

from engine.asgi import App, build
from engine.clock import Clock, offset_clock
from engine.config import Config, ConfigError

CLOCK_OFFSET_FILE = "ENGINE_CLOCK_OFFSET_FILE"
"""Tests only: the environment variable that names a file with the seconds by which this process's clock is ahead."""

_LEVELS = {"trace": "debug", "warn": "warning", "none": "critical"}


class Server(uvicorn.Server):
    """Says good-bye to every client before it closes their connections."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._app.stop()
        await super().shutdown(sockets)


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m engine", description="The embedded real-time engine.")
    arguments.add_argument(
        "-c", "--config", type=Path, required=True, help="a configuration in Centrifugo's JSON format"
    )
    try:
        config = Config.load(arguments.parse_args().config)
    except ConfigError as error:
        print(f"The engine did not start: its configuration cannot be used.\n{error}", file=sys.stderr)  # noqa: T201
        return 1
    serve(config)
    return 0


def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT. The level of the log and the address are the configuration's."""
    level = _LEVELS.get(config.log.level, config.log.level)
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    app = build(config, _clock())
    settings = uvicorn.Config(
        app,
        host=config.http_server.address or "0.0.0.0",  # noqa: S104 (an empty address means every interface, as in Centrifugo)
        port=config.http_server.port,
        log_level="warning" if level in ("info", "debug") else level,
        access_log=False,
        server_header=False,
        ws_max_size=config.websocket.message_size_limit,
        ws_ping_interval=None,  # the protocol has its own
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=int(config.shutdown.timeout),
    )
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, _end)  # uvicorn raises the signal it ended by once more, for who was there before it
    Server(settings, app).run()


def _end(*_: object) -> None:
    sys.exit(0)


def _clock() -> Clock:
    path = os.environ.get(CLOCK_OFFSET_FILE)
    return offset_clock(Path(path)) if path else time.time


if __name__ == "__main__":
    sys.exit(main())
