"""The tokens that the gateway issues at a login: they expire, and only their hashes are stored."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

MAX_SESSIONS = 100_000


class Sessions:
    """The open sessions.

    Args:
        lifetime_s: lifetime of a token in seconds.
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, lifetime_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lifetime = lifetime_s
        self._clock = clock
        self._sessions: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def open(self, account: str) -> str:
        """Return a new token for an account."""
        now = self._clock()
        # All have the same lifetime, so the oldest come first.
        while self._sessions:
            oldest = next(iter(self._sessions))
            if self._sessions[oldest][1] > now and len(self._sessions) < MAX_SESSIONS:
                break
            del self._sessions[oldest]
        token = secrets.token_urlsafe(32)
        self._sessions[_digest(token)] = (account, now + self._lifetime)
        return token

    def account(self, token: str) -> str | None:
        """Return the account of a token, or `None` if it is unknown or has expired."""
        account, expires = self._sessions.get(_digest(token), (None, 0.0))
        return account if expires > self._clock() else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
