"""Keeps secrets out of a stream of bytes, however the stream is cut into pieces."""

import re
from collections.abc import Iterable

from deployments.stacks import SECRET_MIN_LENGTH

MASK = b"[redacted]"


def forms(secret: str) -> set[bytes]:
    """What to look for: the secret, the same without outer white space, and each of its lines that is long enough."""
    candidates = {secret, secret.strip(), *(line.strip() for line in secret.splitlines())}
    return {text.encode() for text in candidates if len(text) >= SECRET_MIN_LENGTH}


class Redactor:
    """Replaces every byte that belongs to a secret; a run of such bytes becomes one MASK.

    What it returns lags behind what it was given by at most the longest secret: a piece may end inside one. The
    result of all pieces together depends only on the bytes, not on how they were cut.
    """

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._secrets = sorted(set(secrets) - {b""}, key=len, reverse=True)
        # A look-ahead finds matches that overlap; the longest at each place comes first.
        self._pattern = re.compile(b"(?=(" + b"|".join(map(re.escape, self._secrets)) + b"))")
        self._held = b""
        #: So many bytes at the start of _held belong to a secret that began before them.
        self._covered = 0
        #: The last thing given out was a MASK: what is covered next belongs to the same run.
        self._masking = False

    def feed(self, data: bytes) -> bytes:
        """Returns what can be said for sure so far."""
        if not self._secrets:
            return data
        self._held += data
        return self._release(self._undecided())

    def end(self) -> bytes:
        """The rest: nothing more comes, so what only began like a secret is none."""
        return self._release(len(self._held))

    def _undecided(self) -> int:
        """The first place from which the bytes held could still become a secret."""
        held = self._held
        first = len(held)
        for secret in self._secrets:
            place = held.find(secret[:1], max(0, len(held) - len(secret) + 1))
            while 0 <= place < first:
                if secret.startswith(held[place:]):
                    first = place
                    break
                place = held.find(secret[:1], place + 1)
        return first

    def _release(self, until: int) -> bytes:
        """Give out what stands before `until`; matches that begin there are all known, though they may reach beyond."""
        if not self._secrets:
            return b""
        out = bytearray()
        clear_from = self._covered
        for match in self._pattern.finditer(self._held):
            start, stop = match.span(1)
            if start >= until:
                break
            if start > clear_from:
                out += self._held[clear_from:start]
                self._masking = False
            if not self._masking:
                out += MASK
                self._masking = True
            clear_from = max(clear_from, stop)
        if clear_from < until:
            out += self._held[clear_from:until]
            self._masking = False
        self._covered = max(0, clear_from - until)
        self._held = self._held[until:]
        return bytes(out)
