"""The attempts made before an answer; they are passed up with the answer or the error."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from berlin.errors import (
    BerlinError,
    CircuitOpenError,
    ConfigurationError,
    FailedAttempt,
    InvalidRequestError,
    OverloadedError,
)
from berlin.providers.contract import Burst
from berlin.types import ChatRequest, Started, Timeouts

_NOTHING_SENT = (CircuitOpenError, ConfigurationError, InvalidRequestError, OverloadedError)


def failed_attempts(
    error: BerlinError, request: ChatRequest, began_at: float, now: float
) -> tuple[FailedAttempt, ...]:
    """Return the attempts an error represents: those it records, or itself."""
    if error.failed:
        return error.failed
    provider, model = error.provider or "", error.model or request.model
    seconds, sent = now - began_at, was_sent(error)
    return (FailedAttempt(provider, model, error.code, began_at, seconds, sent),)


def combine(errors: Sequence[BerlinError], failed: tuple[FailedAttempt, ...]) -> BerlinError:
    """Return the error of a request for which several providers were tried.

    It is the first error of a request that was sent, and names the others: later errors are often
    only consequences of trying a different provider (another model, no prefill), and would hide the
    real cause.
    """
    first = next((error for error in errors if was_sent(error)), errors[0])
    if len(errors) == 1:
        first.failed = failed
        return first
    combined = first.again()
    others = ", ".join(
        f"{error.provider or 'another'}: {error.code}" for error in errors if error is not first
    )
    combined.args = (f"{first.message} (also failed: {others})",)
    combined.failed = failed
    combined.causes = tuple(errors)
    combined.__cause__ = first
    return combined


def was_sent(error: BerlinError) -> bool:
    """Return whether a request left this process before it failed."""
    return not isinstance(error, _NOTHING_SENT)


def with_attempts(
    first: Burst, failed: Sequence[FailedAttempt], began_at: float, name: str = ""
) -> Burst:
    """Return the first burst of an answer, with the attempts that failed before it.

    Args:
        first: the burst.
        failed: the attempts.
        began_at: when the attempt that succeeded began.
        name: the provider that answers, if the answer does not say so.
    """
    started, rest = split_started(first)
    if not failed and (started.provider or not name):
        return first
    sent = sum(attempt.sent for attempt in failed)
    merged = msgspec.structs.replace(
        started,
        provider=started.provider or name,
        attempts=started.attempts + sent,
        failed=(*failed, *started.failed),
        began_at=started.began_at or began_at,
    )
    return [merged, *rest]


def split_started(first: Burst) -> tuple[Started, Burst]:
    """Split the first burst into `Started` and the rest."""
    head = first[0]
    return (head, first[1:]) if type(head) is Started else (Started(), first)


def within(request: ChatRequest, timeouts: Timeouts, seconds: float) -> ChatRequest:
    """Return a request with this total time left.

    Args:
        request: the request.
        timeouts: the limits that apply if it sets none.
        seconds: the time left until the deadline.
    """
    limits = request.timeouts or timeouts
    left = min(limits.total, max(round(seconds, 3), 0.001))  # rounded, as messages show it
    return msgspec.structs.replace(request, timeouts=msgspec.structs.replace(limits, total=left))
