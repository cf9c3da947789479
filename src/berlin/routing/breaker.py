"""Stops requests to a failing provider until a single probe shows that it works again."""

from __future__ import annotations

import time
from functools import partial

from berlin.errors import (
    BerlinError,
    CircuitOpenError,
    LimitReachedError,
    RateLimitError,
    ServiceError,
)
from berlin.providers.contract import Burst, Bursts, Provider
from berlin.routing.base.answer import Opening, Watched
from berlin.routing.base.circuit import (
    COOL_DOWN_S,
    FAILURES,
    GRANTED,
    Circuit,
    Permit,
    Seen,
)
from berlin.routing.base.clock import Clock
from berlin.routing.base.wrapper import Wrapper
from berlin.types import ChatRequest, Finished

LONGEST_REST_S = 300.0


class Breaker(Wrapper):
    """A circuit breaker around one provider with one account.

    After `failures` consecutive failures of the service, it gets no requests for `cool_down_s`;
    then one request at a time probes it. When a probe is answered, all requests are admitted again.
    A service that names a time (`Retry-After`) gets no requests until then.

    Args:
        inner: the provider.
        failures: consecutive failures that open the circuit.
        cool_down_s: seconds until the provider is probed.
        longest_rest_s: the longest pause that the service can ask for.
        circuit: the state, where it is shared with other processes.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        inner: Provider,
        *,
        failures: int = FAILURES,
        cool_down_s: float = COOL_DOWN_S,
        longest_rest_s: float = LONGEST_REST_S,
        circuit: Circuit | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(inner)
        self._longest_rest_s = longest_rest_s
        self.circuit = circuit or Circuit(clock, failures, cool_down_s)

    @property
    def working(self) -> bool:
        """Whether the circuit is closed, and the provider works as far as observed."""
        return self.circuit.state == "closed" and super().working

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        return Opening(self._begin, request)

    async def _begin(self, answer: Opening, request: ChatRequest) -> Burst:
        permit = await self.circuit.admit()
        if not permit.granted:
            raise _refusal(permit, self.name or None)
        try:
            first = await answer.ask(self.inner, request)
        except BaseException as error:
            seen = self.note(permit, error)
            if seen is not None and isinstance(error, BerlinError):
                await seen
            raise
        seen = self.note(permit, None) if permit.probe else None
        if type(first[-1]) is Finished:
            seen = self.note(GRANTED, None) or seen
        else:
            answer.asked = Watched(answer.asked, partial(self.note, GRANTED))
        if seen is not None:
            await seen
        return first

    def note(self, permit: Permit, how: BaseException | None) -> Seen:
        """Record the outcome of an admitted request."""
        match how:
            case None:
                return self.circuit.succeed(permit)
            case BerlinError() if how.blames_service:
                return self.circuit.fail(permit)
            case RateLimitError():
                seen = self.circuit.succeed(permit)
                if how.retry_after:
                    return self.circuit.rest(min(how.retry_after, self._longest_rest_s)) or seen
                return seen
            case ServiceError():
                return self.circuit.succeed(permit)  # it refuses this request: it is available
            case _:
                return self.circuit.release(permit)


def _refusal(permit: Permit, provider: str | None) -> BerlinError:
    if permit.resting:
        return LimitReachedError(
            f"the service asked for a pause of {permit.wait_s:.0f} s more; nothing was sent",
            provider=provider,
            retry_after=permit.wait_s,
        )
    return CircuitOpenError(
        "it failed recently and is skipped until it has had time to recover",
        provider=provider,
        retry_after=permit.wait_s,
    )
