"""A clock that a test moves."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partialmethod

import pytest

from berlin import Berlin
from berlin.gateway.access.sessions import Sessions


class Clock:
    """A clock that stands still until its `now` is changed."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def zone_at_noon() -> str:
    """Return a time zone in which neither a day nor a month ends while a test runs."""
    return f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"


def session_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return a clock for the tokens that gateways issue, of all that are made from now on."""
    clock = Clock(time.time())
    monkeypatch.setattr(Sessions, "__init__", partialmethod(Sessions.__init__, clock=clock))
    return clock


def pass_time(berlin: Berlin, seconds: float) -> None:
    """Let the token of a provider be so much older."""
    assert berlin._service is not None
    source = berlin._service._auth.source
    clock = source._clock
    source._clock = lambda: clock() + seconds
