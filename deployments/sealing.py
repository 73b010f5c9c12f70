"""Secret parameter values at rest: encrypted, and recognised again by a keyed hash.

Both keys come from settings.PARAMETER_SECRET: whoever has only the database can neither read a secret nor try guesses.
"""

import base64
import hashlib
import hmac
import json
from functools import cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class CannotUnseal(RuntimeError):
    """The stored secrets were sealed under another PARAMETER_SECRET."""


def canonical(value: Any) -> bytes:
    """JSON with one spelling for one value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def seal(values: dict[str, str]) -> str:
    return _fernet(settings.PARAMETER_SECRET).encrypt(canonical(values)).decode() if values else ""


def unseal(sealed: str) -> dict[str, str]:
    """Raises CannotUnseal."""
    if not sealed:
        return {}
    try:
        return dict(json.loads(_fernet(settings.PARAMETER_SECRET).decrypt(sealed.encode())))
    except InvalidToken:
        raise CannotUnseal("These secrets were stored under another PARAMETER_SECRET. Deploy again.") from None


def keyed_hash(value: Any) -> str:
    """Equal values have equal hashes; without the key nobody can try values against one."""
    return hmac.new(_derive(settings.PARAMETER_SECRET, "digest"), canonical(value), hashlib.sha256).hexdigest()


def _fernet(secret: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(_derive(secret, "encrypt")))


@cache
def _derive(secret: str, purpose: str) -> bytes:
    kdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=f"neostack parameters {purpose}".encode())
    return kdf.derive(secret.encode())


def digest(value: Any) -> str:
    """What identifies a value for ever: `sha256:` and the hash of its canonical JSON."""
    return f"sha256:{hashlib.sha256(canonical(value)).hexdigest()}"
