"""An engine's server API, small enough to be obvious: streams with offsets, the version check, switches for trouble.

The engine itself has its own tests; this one keeps what it was told, in order, and can be told to fail in ways that a
real one does only under load.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class EngineStub:
    """Listens on a free port of 127.0.0.1. `went_out` is [(channel, event)] as subscribers would have got it."""

    def __init__(self) -> None:
        self.streams: dict[str, list[dict[str, Any]]] = {}
        self.versions: dict[str, tuple[int, str]] = {}
        self.went_out: list[tuple[str, dict[str, Any]]] = []
        self.disconnected: list[str] = []
        self.journal: list[str] = []
        self.refuse: set[str] = set()
        self.trouble: int | None = None
        self.sick: set[str] = set()
        self.keeps_connections = False
        self.falters: set[tuple[str, int]] = set()
        self.answer_status: int | None = None
        self.lose_answers = 0
        self.fail_with: str | None = None
        self.fates: Iterator[str] = iter(())
        self.requests = 0
        self.largest_request: int | None = None
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._connections: list[socket.socket] = []
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def start(self) -> None:
        """Listen; again on the same port after `stop`."""
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = stub._answer(self.path.rsplit("/", 1)[-1], body)
                if status == 0:
                    self.close_connection = True
                    return
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def setup(self) -> None:
                super().setup()
                stub._connections.append(self.connection)

            def log_message(self, *args: Any) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        while self._connections:
            with contextlib.suppress(OSError):
                self._connections.pop().shutdown(socket.SHUT_RDWR)

    def seqs(self, channel: str) -> list[int]:
        """The sequence numbers a subscriber of the channel would have received, in order."""
        return [event["seq"] for name, event in self.went_out if name == channel]

    def _answer(self, method: str, body: bytes) -> tuple[int, dict[str, Any]]:
        with self._lock:
            self.requests += 1
            if self.answer_status:
                return self.answer_status, {}
            if self.largest_request and len(body) > self.largest_request:
                return 413, {}
            # "down": refused as a whole, done in no part; "lost": done, and nobody hears of it.
            fate = next(self.fates, "")
            if fate == "down" or (self.fail_with and self.fail_with.encode() in body):
                return 503, {}
            request = json.loads(body)
            if method != "batch":
                reply = self._do(method, request)
                return 200, {"result": reply[method]} if method in reply else reply
            replies = [self._do(*next(iter(command.items()))) for command in request["commands"]]
            if self.lose_answers or fate == "lost":
                self.lose_answers = max(0, self.lose_answers - 1)
                return 0, {}
            return 200, {"replies": replies}

    def _do(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        if self.trouble:
            return {"error": {"code": self.trouble, "message": "trouble"}}
        if method == "disconnect" and self.keeps_connections:
            return {"error": {"code": 100, "message": "internal server error"}}
        if method == "disconnect":
            self.disconnected.append(request["user"])
            self.journal.append(f"disconnect {request['user']} {request['disconnect']['code']}")
            return {"disconnect": {}}
        if method == "info":
            return {"info": {"nodes": [{"num_clients": 0, "uptime": 1}]}}
        channel = request["channel"]
        if channel in self.sick:
            return {"error": {"code": 100, "message": "internal server error"}}
        if channel in self.refuse:
            return {"error": {"code": 102, "message": "unknown channel"}}
        if method == "publish" and (channel, request["data"].get("seq")) in self.falters:
            self.falters.remove((channel, request["data"]["seq"]))
            return {"error": {"code": 100, "message": "internal server error"}}
        stream = self.streams.setdefault(channel, [])
        if method == "publish" and self._is_new(channel, request):
            stream.append(request["data"])
            self.went_out.append((channel, request["data"]))
            self.journal.append(f"publish {request['data'].get('type', 'nothing')} {channel}")
        return {method: {"offset": len(stream), "epoch": "stub"}}

    def _is_new(self, channel: str, request: dict[str, Any]) -> bool:
        version, epoch = request.get("version", 0), request.get("version_epoch", "")
        if not version:
            return True
        last, last_epoch = self.versions.get(channel, (0, ""))
        if epoch == last_epoch and version <= last:
            return False
        self.versions[channel] = (version, epoch)
        return True
