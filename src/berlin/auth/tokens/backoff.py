"""When a login that failed may be tried again: in this process, and in all that share the store.

Two kinds of failures count: credentials that were refused (trying again could lock the account),
and an identity provider that has too much to do (429) or fails (5xx). A process that cannot reach
it has a problem of its own, which others need not have.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from berlin.auth.grant import CLOCK_SKEW_S
from berlin.auth.tokens.store import Pause, Record
from berlin.errors import (
    AuthenticationError,
    BerlinError,
    ConnectionLostError,
    ProtocolError,
    QuotaError,
    RateLimitError,
    ServiceUnavailableError,
    UpstreamTimeoutError,
)

FIRST_REFUSAL_S = 5.0
LONGEST_REFUSAL_S = 300.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
# How long a process goes without looking into the store: another one may have logged in.
LOOK_AGAIN_S = 5.0

BUSY = (RateLimitError, ServiceUnavailableError)
"""The errors of a busy identity provider."""

_BUSY_KINDS = {kind.code: kind for kind in (RateLimitError, QuotaError, ServiceUnavailableError)}
# Errors after which the refresh token may or may not have been used.
_MAYBE_SPENT = (UpstreamTimeoutError, ConnectionLostError, ProtocolError)
_NOTES = (" (remembered, so that", " (asked again in")


class Backoff:
    """Remembers the failure of the last login, and until when no other is tried.

    Args:
        clock: a monotonic clock, in seconds.
        is_shared: whether there is a store, in which another process may leave a token meanwhile.
    """

    def __init__(self, clock: Callable[[], float], *, is_shared: bool) -> None:
        self._clock = clock
        self._is_shared = is_shared
        self.clear()

    def clear(self) -> None:
        """Forget the failure: a login succeeded, or there are other credentials."""
        self._failure: BerlinError | None = None
        self._ends_at = self._look_at = self._read_at = 0.0
        self._count = 0

    def fail(self, error: BerlinError, read_again_s: float = math.inf) -> None:
        """Remember a failed login, and set its `retry_after`, if it is of one of the two kinds.

        Args:
            read_again_s: seconds until refused secrets are read again, since they may have changed.
        """
        is_new = error.retry_after is None
        wait = _wait_after(error, self._count)
        if wait is None:
            return
        now = self._clock()
        self._failure, self._ends_at = error, now + wait
        self._look_at = now + (min(wait, LOOK_AGAIN_S) if self._is_shared else wait)
        is_refusal = isinstance(error, AuthenticationError)
        self._read_at = now + read_again_s if is_refusal else math.inf
        self._count += is_new or not is_refusal

    @property
    def is_on(self) -> bool:
        """Whether neither a login is due, nor a look at the store or at the secrets."""
        return self._clock() < min(self._look_at, self._read_at)

    @property
    def rests(self) -> bool:
        """Whether neither a login is due, nor a look at the store."""
        return self._clock() < self._look_at

    def check(self) -> None:
        """Raise the remembered failure while its time has not passed."""
        left = self._ends_at - self._clock()
        if self._failure is not None and left > 0:
            raise _remembered(self._failure, left)


def stored_failure(record: Record, now: float) -> BerlinError | None:
    """Return the failure that a process stored for all, while its time has not passed.

    Args:
        now: seconds since 1970.
    """
    if 0 < record.refused_until - now <= LONGEST_REFUSAL_S + CLOCK_SKEW_S:
        refusal = AuthenticationError(record.refusal)
        return _remembered(refusal, record.refused_until - now)
    pause = record.pause
    # One that seems to begin later was stored before the clock was set back.
    if pause is None or not pause.began_at - CLOCK_SKEW_S <= now < pause.until:
        return None
    kind = _BUSY_KINDS.get(pause.kind, ServiceUnavailableError)
    return _remembered(kind(pause.reason, status=pause.status), pause.until - now)


def after_failure(
    stored: Record | None, empty: Record, error: BerlinError, now: float, proof: str = ""
) -> Record | None:
    """Return what to store after a failed login; `None` leaves the store as it is.

    Args:
        stored: the record before the login; `None` if there was none.
        empty: a record of the key without a token.
        error: the failure; its `retry_after` is set if it is one of a busy identity provider.
        now: seconds since 1970.
        proof: a fingerprint of the secrets that the login read.
    """
    before = stored or empty
    if isinstance(error, AuthenticationError):
        return msgspec.structs.replace(
            empty,
            refused_until=now + refusal_time(before.refusals),
            refusals=before.refusals + 1,
            refusal=error.message,
            refused_proof=proof,
        )
    if isinstance(error, BUSY):
        count = before.pause.count if before.pause is not None else 0
        wait = _wait_after(error, count) or 0.0
        pause = Pause(now, now + wait, count + 1, error.code, error.status, error.message)
        return msgspec.structs.replace(before, pause=pause)
    return None if isinstance(error, _MAYBE_SPENT) else stored


def refusal_time(refusals: int) -> float:
    """Return for how long refused credentials are not tried again."""
    return min(FIRST_REFUSAL_S * 2.0**refusals, LONGEST_REFUSAL_S)


def _wait_after(error: BerlinError, count: int) -> float | None:
    """Return the seconds until the next login, and set `retry_after`; `None`: at any time."""
    if isinstance(error, AuthenticationError):
        return error.retry_after or refusal_time(count)
    if not isinstance(error, BUSY):
        return None
    if error.retry_after is None:
        error.retry_after = min(FIRST_PAUSE_S * 2.0**count, LONGEST_PAUSE_S)
    error.retry_after = max(error.retry_after, FIRST_PAUSE_S)
    return error.retry_after


def _remembered(failure: BerlinError, wait: float) -> BerlinError:
    error = failure.again()
    message = failure.message
    for note in _NOTES:
        message = message.partition(note)[0]
    if isinstance(failure, AuthenticationError):
        note = (
            f"(remembered, so that the account is not locked; tried again in {wait:.0f} s, or "
            "immediately with other credentials)"
        )
    else:
        note = f"(asked again in {wait:.0f} s, by one program for all)"
    error.args = (f"{message} {note}",)
    error.retry_after = wait
    error.private = True
    error.__cause__ = failure
    return error
