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

    When there are too many, the account that has the most loses the one that it has not used for
    the longest time, so no account can end the sessions of another by logging in again and again.

    Args:
        lifetime_s: lifetime of a token in seconds.
        clock: a monotonic clock, in seconds.
        most: the most sessions.
    """

    def __init__(
        self,
        lifetime_s: float,
        clock: Callable[[], float] = time.monotonic,
        most: int = MAX_SESSIONS,
    ) -> None:
        self._lifetime = lifetime_s
        self._clock = clock
        self._most = most
        self._sessions: dict[bytes, tuple[str, float]] = {}
        # The digests of each account; the one used last comes last.
        self._digests: dict[str, OrderedDict[bytes, None]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, account: str) -> str:
        """Return a new token for an account."""
        if len(self._sessions) >= self._most:
            most = max(self._digests.values(), key=len)
            self._end(next(iter(most)))
        token = secrets.token_urlsafe(32)
        digest = _digest(token)
        self._sessions[digest] = (account, self._clock() + self._lifetime)
        self._digests.setdefault(account, OrderedDict())[digest] = None
        self._end_expired(account)
        return token

    def account(self, token: str) -> str | None:
        """Return the account of a token, or `None` if it is unknown or has expired."""
        digest = _digest(token)
        account, expires = self._sessions.get(digest, (None, 0.0))
        if account is None:
            return None
        if expires <= self._clock():
            self._end(digest)
            return None
        self._digests[account].move_to_end(digest)
        return account

    def end_all(self, account: str) -> None:
        """End all sessions of an account."""
        for digest in list(self._digests.get(account, ())):
            self._end(digest)

    def _end_expired(self, account: str) -> None:
        now = self._clock()
        while digests := self._digests.get(account):
            oldest = next(iter(digests))
            if self._sessions[oldest][1] > now:
                return
            self._end(oldest)

    def _end(self, digest: bytes) -> None:
        account, _ = self._sessions.pop(digest)
        digests = self._digests[account]
        del digests[digest]
        if not digests:
            del self._digests[account]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
