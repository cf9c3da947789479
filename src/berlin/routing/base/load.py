"""Observes a provider's load and speed while it answers."""

from __future__ import annotations

from berlin.errors import BerlinError
from berlin.providers.contract import Burst, Bursts, Provider
from berlin.routing.base.answer import Opening
from berlin.routing.base.clock import Clock
from berlin.routing.base.wrapper import Wrapper
from berlin.types import ChatRequest

LEARNING_RATE = 0.3
# The half-life of an observation, so that a slow provider gets another chance.
HALF_LIFE_S = 30.0
# The latency counted for a failure: far more than the usual time to the first event.
FAILURE_S = 10.0


class Load(Wrapper):
    """Observes the wrapped provider.

    Attributes:
        open: its open requests.
        weight: its share relative to the others.
    """

    def __init__(self, inner: Provider, weight: float, clock: Clock) -> None:
        super().__init__(inner)
        self.weight = weight
        self.clock = clock
        self.open = 0
        self._first_event_s = 0.0
        self._observed_at = clock()

    @property
    def busy(self) -> float:
        """Its load relative to its weight."""
        return (self.open + 1) / self.weight

    @property
    def slow(self) -> float:
        """The expected time to the next first event, relative to its weight."""
        age = self.clock() - self._observed_at
        fading: float = 0.5 ** (age / HALF_LIFE_S)
        return self.busy * (0.05 + self._first_event_s * fading)

    def observe(self, first_event_s: float) -> None:
        """Record the time to a first event."""
        self._first_event_s += LEARNING_RATE * (first_event_s - self._first_event_s)
        self._observed_at = self.clock()

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        return Opening(self._begin, request)

    async def _begin(self, answer: Opening, request: ChatRequest) -> Burst:
        began_at = self.clock()
        self.open += 1
        try:
            first = await answer.ask_watched(self.inner, request, self._end)
        except BerlinError as error:
            if error.fallback:
                self.observe(FAILURE_S)
            raise
        self.observe(self.clock() - began_at)
        return first

    def _end(self, how: BaseException | None) -> None:
        self.open -= 1
