"""A server that answers like Stripe's API, as far as we use it: idempotency keys, declines, answers that get lost.

Shapes are those of docs.stripe.com/api; what happens is decided by the means of payment, as with Stripe's test cards.
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

DECLINED = {"type": "card_error", "code": "card_declined", "message": "Your card was declined."}


class StripeStub(ThreadingHTTPServer):
    """`things` are what it has made, by id; `answers` what it said to each idempotency key; `least` what it charges."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.things: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, tuple[int, dict[str, Any]]] = {}
        self.asked: list[tuple[str, str, dict[str, str], str]] = []
        self.loses_answers = False
        self.broken_with: int | None = None
        self.least = 50
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [thing for thing in self.things.values() if thing["object"] == kind]

    def answer(self, method: str, path: str, sent: dict[str, str], key: str) -> tuple[int, dict[str, Any]]:
        if self.broken_with:
            return self.broken_with, {"error": {"type": "api_error", "message": "We are sorry."}}
        if method == "GET":
            return 200, self._list(path, sent)
        if key not in self.answers:
            self.answers[key] = self._make(path, sent)
        return self.answers[key]

    def _list(self, path: str, sent: dict[str, str]) -> dict[str, Any]:
        kind = {"/v1/payment_intents": "payment_intent", "/v1/refunds": "refund"}[path]
        wanted = {name: sent[name] for name in ("customer", "payment_intent") if name in sent}
        found = [one for one in self.of(kind) if all(one.get(name) == value for name, value in wanted.items())]
        return {"object": "list", "url": path, "has_more": False, "data": found}

    def _make(self, path: str, sent: dict[str, str]) -> tuple[int, dict[str, Any]]:
        match path:
            case "/v1/payment_intents":
                return self._intent(sent)
            case "/v1/refunds":
                return self._refund(sent)
            case "/v1/customers":
                return 200, self._keep("customer", "cus", name=sent["name"])
            case _:
                session = self._keep("checkout.session", "cs", customer=sent["customer"], mode=sent["mode"])
                return 200, session | {"url": f"https://checkout.stripe.example/{session['id']}"}

    def _intent(self, sent: dict[str, str]) -> tuple[int, dict[str, Any]]:
        method = sent["payment_method"]
        if method == "pm_gone":
            return 404, {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "No such"}}
        if int(sent["amount"]) < self.least:
            return 400, {"error": {"type": "invalid_request_error", "code": "amount_too_small", "message": "Too small"}}
        statuses = {"pm_declined": "requires_payment_method", "pm_sepa": "processing"}
        intent = self._keep(
            "payment_intent",
            "pi",
            amount=int(sent["amount"]),
            currency=sent["currency"],
            customer=sent["customer"],
            payment_method=method,
            status=statuses.get(method, "succeeded"),
            metadata={"payment": sent["metadata[payment]"]},
            last_payment_error=DECLINED if method == "pm_declined" else None,
        )
        return (402, {"error": DECLINED | {"payment_intent": intent}}) if method == "pm_declined" else (200, intent)

    def _refund(self, sent: dict[str, str]) -> tuple[int, dict[str, Any]]:
        refund = self._keep(
            "refund",
            "re",
            amount=int(sent["amount"]),
            currency=self.things[sent["payment_intent"]]["currency"],
            payment_intent=sent["payment_intent"],
            status="succeeded",
            metadata={"refund": sent["metadata[refund]"]},
        )
        return 200, refund

    def _keep(self, kind: str, prefix: str, **fields: Any) -> dict[str, Any]:
        thing = {"id": f"{prefix}_{len(self.things) + 1}", "object": kind, "created": int(time.time()), **fields}
        self.things[thing["id"]] = thing
        return thing


class _Handler(BaseHTTPRequestHandler):
    server: StripeStub

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        self._answer("GET", address.path, address.query)

    def do_POST(self) -> None:
        self._answer("POST", self.path, self.rfile.read(int(self.headers["Content-Length"] or 0)).decode())

    def _answer(self, method: str, path: str, form: str) -> None:
        sent = {name: values[0] for name, values in parse_qs(form).items()}
        key = self.headers.get("Idempotency-Key") or str(len(self.server.asked))
        self.server.asked.append((method, path, sent, key))
        status, said = self.server.answer(method, path, sent, key)
        if self.server.loses_answers:
            self.connection.close()
            return
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Request-Id", "req_stub")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silent."""
