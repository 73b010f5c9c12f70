"""How Prometheus reads a process that has no web pages: a port of its own, METRICS_PORT. And who may read numbers."""

import hmac
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from django.conf import settings
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from events import liveness

logger = logging.getLogger("events.scraping")

LOOPBACK = ("127.0.0.1", "::1")
REFUSED = "Metrics are for the monitoring only: see METRICS_KEY.\n"


def may_read(authorization: str, address: str, *, through_proxy: bool = False) -> bool:
    """With METRICS_KEY only whoever shows it as bearer token; without it only this machine, and not through a proxy."""
    if settings.METRICS_KEY:
        return hmac.compare_digest(authorization.encode(), f"Bearer {settings.METRICS_KEY}".encode())
    return address in LOOPBACK and not through_proxy


class _Scrape(BaseHTTPRequestHandler):
    """GET /metrics, and /healthz for probes: whether the main loop of the process still turns."""

    timeout = 10.0  # seconds that a client may take to ask

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/healthz":
            self._say_whether_alive()
        elif path != "/metrics":
            self._answer(404, "text/plain", b"There are only /metrics and /healthz.\n")
        elif not may_read(self.headers.get("Authorization", ""), self.client_address[0]):
            self._answer(403, "text/plain", REFUSED.encode())
        else:
            self._answer(200, CONTENT_TYPE_LATEST, generate_latest())

    def _say_whether_alive(self) -> None:
        lines = [f"{loop} turned {seconds:.1f} s ago\n" for loop, seconds in liveness.since_turned().items()]
        self._answer(200 if liveness.is_alive() else 503, "text/plain", "".join(lines).encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """A scrape every few seconds is nothing to tell."""


def serve() -> ThreadingHTTPServer | None:
    """Answer at METRICS_PORT, from a thread that ends with the process; None where no port is set.

    Without METRICS_KEY it listens on loopback only. A port that is taken is said, and stops nobody's work.
    """
    if not settings.METRICS_PORT:
        return None
    try:
        server = ThreadingHTTPServer(("" if settings.METRICS_KEY else "127.0.0.1", settings.METRICS_PORT), _Scrape)
    except OSError as error:
        logger.error("No metrics of this process: METRICS_PORT=%s can't be used: %s", settings.METRICS_PORT, error)
        return None
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
