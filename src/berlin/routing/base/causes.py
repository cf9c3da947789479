"""Combines the errors of several providers: shows the first and names the others."""

from __future__ import annotations

from collections.abc import Sequence

from berlin.errors import BerlinError, FailedAttempt
from berlin.routing.base.attempts import was_sent


def combine(errors: Sequence[BerlinError], failed: tuple[FailedAttempt, ...]) -> BerlinError:
    """Return the error of a request for which several providers were tried.

    It is the first error of a request that was sent: later errors are often only consequences of
    trying a different provider (another model, no prefill), and would hide the real cause.
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
