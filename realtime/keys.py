"""The keys that subscription tokens are signed with, and the public halves by which the engine checks them.

One key signs at a time. Which one, the clock alone says, so that every web process changes at the same moment without
being told: `rotate` adds a key that signs from SIGNING_KEY_LEAD_SECONDS later on, and by then every process has read it
and publishes it. The former key stays published until the last token that it signed has ended.
"""

import base64
import time
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import uuid4

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from jwt.algorithms import ECAlgorithm

from realtime.models import SigningKey

ALGORITHM = "ES256"
PrivateKey = ec.EllipticCurvePrivateKey


class CannotUnseal(RuntimeError):
    """The private keys were stored under another SIGNING_KEY_SECRET."""


class AlreadyRotating(Exception):
    """A key that has not signed yet waits for its time."""


# --- What a process knows ---------------------------------------------------------------------------------------------


class KeyRing:
    """What this process knows of the keys; it reads them anew three times in a lead. Threads may share it."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._rows: list[SigningKey] = []
        self._private: dict[str, PrivateKey] = {}
        self._read_at = float("-inf")

    @property
    def is_fresh(self) -> bool:
        """That there is no key yet is never remembered: the first one signs at once."""
        return bool(self._rows) and time.monotonic() - self._read_at < read_again_seconds()

    def read(self) -> None:
        rows = list(SigningKey.objects.all())
        known = {row.kid for row in rows}
        self._private = {kid: key for kid, key in self._private.items() if kid in known}
        self._rows, self._read_at = rows, time.monotonic()

    def public_keys(self) -> list[dict[str, Any]]:
        """JSON Web Keys, as they were read last."""
        return [row.public for row in self._rows]

    def signing_key(self) -> tuple[str, PrivateKey]:
        """The id and the private half of the key that signs now, made if there is none yet. Raises CannotUnseal."""
        if not self.is_fresh:
            self.read()
        row = self._signing_row()
        if row is None:
            create_first()
            self.read()
            row = cast(SigningKey, self._signing_row())
        if row.kid not in self._private:
            self._private[row.kid] = unseal(row.sealed_private)
        return row.kid, self._private[row.kid]

    def _signing_row(self) -> SigningKey | None:
        now = timezone.now()
        return next((row for row in self._rows if row.state_at(now) == SigningKey.CURRENT), None)


ring = KeyRing()


def read_again_seconds() -> float:
    lead: float = settings.SIGNING_KEY_LEAD_SECONDS
    return lead / 3


# --- Making and ending keys -------------------------------------------------------------------------------------------


def create_first() -> None:
    """Make the key that signs from now on, if there is none. Whoever comes second at it finds that of the other."""
    try:
        with transaction.atomic():
            _create(signs_from=timezone.now())
    except IntegrityError:
        if not SigningKey.objects.filter(signs_until=None).exists():
            raise


@transaction.atomic
def rotate() -> SigningKey:
    """Publish a new key, which takes over after the lead.

    Raises AlreadyRotating if the newest one has not taken over yet, and CannotUnseal where a key of ours could not be
    read by who signs: under another secret than theirs nobody would have one that works.
    """
    newest = _newest()
    if newest is not None:
        unseal(newest.sealed_private)
    return _succeed(newest, timezone.now() + timedelta(seconds=settings.SIGNING_KEY_LEAD_SECONDS))


@transaction.atomic
def replace() -> SigningKey:
    """Put a new key in the place of the one that signs, at once: for when that can't be read any more."""
    return _succeed(_newest(), timezone.now())


def _newest() -> SigningKey | None:
    """Locked; None where there has never been one. Raises AlreadyRotating."""
    newest = SigningKey.objects.select_for_update().filter(signs_until=None).first()
    # None too where we waited for the lock, and somebody else's rotation was committed meanwhile.
    if newest.signs_from > timezone.now() if newest else SigningKey.objects.exists():
        raise AlreadyRotating
    return newest


def _succeed(former: SigningKey | None, changes_at: datetime) -> SigningKey:
    forget_ended()
    if former is None:
        return _create(signs_from=timezone.now())
    former.signs_until = changes_at
    former.save(update_fields=["signs_until"])
    return _create(signs_from=changes_at)


def forget_ended() -> None:
    """Erase the private half of keys that sign no more, and delete keys whose last token has ended."""
    lead = timedelta(seconds=settings.SIGNING_KEY_LEAD_SECONDS)  # for processes whose clocks are behind
    now = timezone.now()
    SigningKey.objects.filter(signs_until__lt=now - lead).exclude(sealed_private="").update(sealed_private="")
    last_token = timedelta(seconds=settings.SUBSCRIPTION_TOKEN_TTL_SECONDS)
    SigningKey.objects.filter(signs_until__lt=now - lead - last_token).delete()


def _create(signs_from: datetime) -> SigningKey:
    private = ec.generate_private_key(ec.SECP256R1())
    kid = str(uuid4())
    public = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return SigningKey.objects.create(
        kid=kid,
        algorithm=ALGORITHM,
        # Centrifugo takes no key that doesn't say what it is for.
        public={**public, "kid": kid, "alg": ALGORITHM, "use": "sig"},
        sealed_private=seal(private),
        signs_from=signs_from,
    )


# --- At rest ----------------------------------------------------------------------------------------------------------


def seal(private: PrivateKey) -> str:
    content = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return _fernet().encrypt(content).decode()


def unseal(sealed: str) -> PrivateKey:
    """Raises CannotUnseal."""
    try:
        return cast(PrivateKey, load_der_private_key(_fernet().decrypt(sealed.encode()), password=None))
    except InvalidToken:
        raise CannotUnseal(
            "The signing keys were stored under another SIGNING_KEY_SECRET. Bring that back, "
            "or make a new key under this one: manage.py rotate_realtime_keys --replace-unreadable"
        ) from None


def _fernet() -> Fernet:
    derived = HKDF(hashes.SHA256(), length=32, salt=None, info=b"neostack signing keys")
    return Fernet(base64.urlsafe_b64encode(derived.derive(settings.SIGNING_KEY_SECRET.encode())))
