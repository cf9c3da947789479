"""The state of a circuit breaker: closed, open or half-open. It never waits."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

import msgspec

from berlin.routing.base.clock import Clock

FAILURES = 5
COOL_DOWN_S = 10.0
# A probe without a result for this long counts as lost; another one may be sent.
PROBE_S = 60.0

State: TypeAlias = Literal["closed", "open", "half-open"]


class Permit(msgspec.Struct, frozen=True, gc=False):
    """Whether a request may be sent.

    Attributes:
        granted: whether it may.
        probe: whether it is the probe that tests whether the provider works again.
        wait_s: seconds until it is worth trying again, if not.
    """

    granted: bool
    probe: bool = False
    wait_s: float = 0.0


GRANTED = Permit(granted=True)


class Circuit(Protocol):
    """The state of one provider and account, in this process or shared with others."""

    @property
    def state(self) -> State:
        """The state, as last seen by this process."""
        ...

    async def admit(self) -> Permit:
        """Return whether a request may be sent now."""
        ...

    def succeed(self, permit: Permit) -> None:
        """Record an answer."""
        ...

    def fail(self, permit: Permit) -> None:
        """Record a failure of the provider."""
        ...

    def rest(self, seconds: float) -> None:
        """Send nothing for this long, because the provider says so."""
        ...

    def release(self, permit: Permit) -> None:
        """Record a request that says nothing about the provider."""
        ...


class LocalCircuit:
    """The state of one provider and account in this process.

    Args:
        clock: a monotonic clock, in seconds.
        failures: consecutive failures that open it.
        cool_down_s: seconds until the provider is probed, with one request at a time.
    """

    def __init__(self, clock: Clock, failures: int = FAILURES, cool_down_s: float = COOL_DOWN_S):
        self._clock = clock
        self._limit = failures
        self._cool_down_s = cool_down_s
        self._failures = 0
        self._open_until = 0.0
        self._is_open = False
        self._probed_at: float | None = None

    @property
    def state(self) -> State:
        """The state."""
        if not self._is_open:
            return "closed"
        return "open" if self._clock() < self._open_until else "half-open"

    async def admit(self) -> Permit:
        """Return whether a request may be sent now."""
        now = self._clock()
        if now < self._open_until:
            return Permit(granted=False, wait_s=self._open_until - now)
        if not self._is_open:
            return GRANTED
        if self._probed_at is not None and now < self._probed_at + PROBE_S:
            return Permit(granted=False, wait_s=1.0)
        self._probed_at = now
        return Permit(granted=True, probe=True)

    def succeed(self, permit: Permit) -> None:
        """Record an answer. When the answer to a probe starts, the circuit closes, and the next
        failure opens it again.
        """
        if permit.probe:
            self._is_open, self._probed_at = False, None
            self._failures = self._limit - 1
        elif not self._is_open:
            self._failures = 0

    def fail(self, permit: Permit) -> None:
        """Record a failure; enough in a row, or a failed probe, open the circuit."""
        self._failures += 1
        if permit.probe:
            self._probed_at = None
        elif self._is_open or self._failures < self._limit:
            return  # sent before the circuit opened, or not enough failures yet
        self._is_open = True
        self._open_until = self._clock() + self._cool_down_s

    def rest(self, seconds: float) -> None:
        """Send nothing for this long."""
        self._open_until = max(self._open_until, self._clock() + seconds)

    def release(self, permit: Permit) -> None:
        """Release the probe, if this request held it."""
        if permit.probe:
            self._probed_at = None
