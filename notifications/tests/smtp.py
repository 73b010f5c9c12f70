"""A mail server on loopback that does as it is told: accepts, refuses, hangs, or hangs up before it answers."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message


class MailServer:
    """`answer_data` is its answer to a whole mail; empty: it hangs up instead. `answer_recipient` is that to RCPT.

    While `hangs` is set it says nothing at all.
    """

    def __init__(self) -> None:
        self.accepted: list[Message] = []
        self.tried = 0
        self.answer_data = "250 OK"
        self.answer_recipient = "250 OK"
        self.hangs = False
        self.released = threading.Event()
        self.port = 0

    def take(self, raw: bytes) -> str:
        self.tried += 1
        if self.answer_data.startswith("250"):
            self.accepted.append(message_from_bytes(raw))
        return self.answer_data


class _Conversation(socketserver.StreamRequestHandler):
    mail: MailServer

    def handle(self) -> None:
        if self.mail.hangs:
            self.mail.released.wait(30)
            return
        self.say("220 test ESMTP")
        while line := self.rfile.readline():
            word = line.split(b":")[0].strip().upper()
            if word == b"DATA":
                self.say("354 go on")
                answer = self.mail.take(self.body())
                if not answer:
                    return
                self.say(answer)
            elif word == b"RCPT TO":
                self.say(self.mail.answer_recipient)
            else:
                self.say("221 bye" if word == b"QUIT" else "250 test")

    def body(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)

    def say(self, words: str) -> None:
        self.wfile.write(f"{words}\r\n".encode())


@contextmanager
def mail_server() -> Iterator[MailServer]:
    mail = MailServer()
    handler = type("Conversation", (_Conversation,), {"mail": mail})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        mail.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield mail
        finally:
            mail.released.set()
            server.shutdown()
            thread.join(timeout=10)
