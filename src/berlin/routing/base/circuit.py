"""The state of a circuit breaker: closed, open or half-open. It never waits."""

from __future__ import annotations

import asyncio
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
        resting: whether it has to wait because the service asked for it.
    """

    granted: bool
    probe: bool = False
    wait_s: float = 0.0
    resting: bool = False


GRANTED = Permit(granted=True)

Seen: TypeAlias = "asyncio.Future[None] | None"
"""What is done when other processes see a change, in bounded time; `None` if they do already."""


class CircuitState(msgspec.Struct, gc=False):
    """The memory of a circuit; in one process it is its own `Place`.

    Attributes:
        failures: consecutive failures.
        is_open: whether it is open or half-open.
        open_until: until when nothing is sent.
        probed_at: when the present probe was sent; 0 for none.
    """

    failures: int = 0
    is_open: bool = False
    open_until: float = 0.0
    probed_at: float = 0.0

    def read(self) -> CircuitState:
        """Return the state."""
        return self

    def __enter__(self) -> CircuitState:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


class Place(Protocol):
    """Holds the state of a circuit: in this process, or in memory that several share."""

    def read(self) -> CircuitState:
        """Return the state."""
        ...

    def __enter__(self) -> CircuitState:
        """Return the state to change; it is stored at the end of the block."""
        ...

    def __exit__(self, *exc_info: object) -> None: ...


class Circuit:
    """The state of one provider and account, in this process or on this machine.

    What records an outcome returns `Seen`.

    Args:
        clock: a monotonic clock, in seconds.
        failures: consecutive failures that open it.
        cool_down_s: seconds until the provider is probed, with one request at a time.
        place: where it is kept; by default in this process.
    """

    def __init__(
        self,
        clock: Clock,
        failures: int = FAILURES,
        cool_down_s: float = COOL_DOWN_S,
        place: Place | None = None,
    ) -> None:
        self._clock = clock
        self._limit = failures
        self._cool_down_s = cool_down_s
        self._place = place or CircuitState()

    @property
    def state(self) -> State:
        """The state."""
        seen = self._place.read()
        if not seen.is_open:
            return "closed"
        return "open" if self._clock() < seen.open_until else "half-open"

    async def admit(self) -> Permit:
        """Return whether a request may be sent now."""
        now, seen = self._clock(), self._place.read()
        if not seen.is_open and now >= seen.open_until:
            return GRANTED
        with self._place as state:
            if now < state.open_until:
                wait_s = state.open_until - now
                return Permit(granted=False, wait_s=wait_s, resting=not state.is_open)
            if not state.is_open:  # another process has closed it since
                return GRANTED
            if state.probed_at and now < state.probed_at + PROBE_S:
                return Permit(granted=False, wait_s=1.0)
            state.probed_at = now
        return Permit(granted=True, probe=True)

    def succeed(self, permit: Permit) -> Seen:
        """Record an answer. When the answer to a probe starts, the circuit closes, and the next
        failure opens it again.
        """
        if not permit.probe and not self._place.read().failures:
            return None
        with self._place as state:
            if permit.probe:
                state.is_open, state.probed_at = False, 0.0
                state.failures = self._limit - 1
            elif not state.is_open:
                state.failures = 0
        return None

    def fail(self, permit: Permit) -> Seen:
        """Record a failure; enough in a row, or a failed probe, open the circuit."""
        with self._place as state:
            state.failures += 1
            if permit.probe:
                state.probed_at = 0.0
            elif state.is_open or state.failures < self._limit:
                return None  # sent before the circuit opened, or not enough failures yet
            state.is_open = True
            state.open_until = self._clock() + self._cool_down_s
        return None

    def rest(self, seconds: float) -> Seen:
        """Send nothing for this long."""
        with self._place as state:
            state.open_until = max(state.open_until, self._clock() + seconds)
        return None

    def release(self, permit: Permit) -> Seen:
        """Release the probe, if this request held it."""
        if permit.probe:
            with self._place as state:
                state.probed_at = 0.0
        return None
