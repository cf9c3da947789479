"""The tokens that the gateway issues at a login: signed, so that nothing has to be kept."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

import msgspec

_SIGNATURE_BYTES = 32
_MAX_TOKEN_CHARS = 4096


class _Claims(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The contents of a token; the nonce makes two logins of one moment differ."""

    account: str
    expires_at: float
    nonce: bytes


class Sessions:
    """The sessions of accounts, as signed tokens.

    Every process with the same key accepts them. Nothing is stored: any number of logins needs no
    memory, and nobody can end the sessions of others. The signature covers the account's password
    hash, so that all sessions of an account end when it is removed or gets another password.

    Args:
        lifetime_s: lifetime of a token in seconds.
        fingerprint: returns what identifies an account and its password; `None` if there is no
            such account.
        key: the key of the signatures; by default a random one, known to this process only.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        lifetime_s: float,
        fingerprint: Callable[[str], bytes | None],
        key: bytes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._lifetime = lifetime_s
        self._fingerprint = fingerprint
        self._key = key or secrets.token_bytes(32)
        self._clock = clock

    def open(self, account: str, fingerprint: bytes | None) -> str:
        """Return a new token for an account.

        Args:
            account: its name.
            fingerprint: what it was when its password was checked: it may have changed since.
        """
        claims = _Claims(account, self._clock() + self._lifetime, secrets.token_bytes(12))
        data = msgspec.msgpack.encode(claims)
        signature = self._sign(data, fingerprint or b"")
        return base64.urlsafe_b64encode(signature + data).decode().rstrip("=")

    def account(self, token: str) -> str | None:
        """Return the account of a token, or `None` if it is unknown or has expired."""
        if len(token) > _MAX_TOKEN_CHARS or not token.isascii():
            return None
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
            signature, data = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
            claims = msgspec.msgpack.decode(data, type=_Claims)
        except (binascii.Error, msgspec.MsgspecError):
            return None
        fingerprint = self._fingerprint(claims.account)
        if fingerprint is None or not hmac.compare_digest(signature, self._sign(data, fingerprint)):
            return None
        return claims.account if claims.expires_at > self._clock() else None

    def _sign(self, data: bytes, fingerprint: bytes) -> bytes:
        signed = len(fingerprint).to_bytes(4, "big") + fingerprint + data
        return hmac.new(self._key, signed, hashlib.sha256).digest()
