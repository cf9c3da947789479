"""The reservations of one request, until they are settled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Self

import msgspec

from berlin.config.tables.limits import MONEY_PLACES
from berlin.errors import BerlinError
from berlin.formats.tokens import prompt_tokens
from berlin.gateway.access.limits.bounds import Bound
from berlin.gateway.observe.visit import Visit
from berlin.providers.contract import Bursts
from berlin.routing.base.answer import LEFT, Watched
from berlin.routing.counters.contract import Counters, Reservation
from berlin.types import ChatRequest, Usage
from berlin.types.usage import usage_with

_log = logging.getLogger("berlin.gateway")


class Demand(msgspec.Struct, frozen=True):
    """An estimate of the cost of a request, made before it is sent.

    Attributes:
        input_tokens: its tokens, estimated.
        most_output: the most tokens of its answer, if it has a limit.
    """

    input_tokens: int
    most_output: int | None = None

    @classmethod
    def of(cls, request: ChatRequest) -> Demand:
        """Return what is known about a chat."""
        most = request.options.get("max_tokens")
        known = isinstance(most, int) and most > 0
        return cls(prompt_tokens(request), most if known else None)


class Spending:
    """The reservation of one request.

    Args:
        counters: where it is counted.
        reserved: what is reserved.
        bounds: the limits, in the order of the claims.
        visit: its record, which counts its answer from now on.
        demand: what was known about its cost.
        cost: returns the money that tokens cost, or `None` if the model has no price.
        learn: records what a complete answer has cost.
    """

    def __init__(
        self,
        counters: Counters,
        reserved: Reservation,
        bounds: tuple[Bound, ...],
        visit: Visit,
        demand: Demand,
        cost: Callable[[Usage], Decimal | None],
        learn: Callable[[Usage], None],
    ) -> None:
        self._counters = counters
        self._reserved = reserved
        self._bounds = bounds
        self._visit = visit
        self._demand = demand
        self._cost = cost
        self._learn = learn
        self._sent = False
        self._ended = False
        self._seen: asyncio.Future[None] | None = None

    def watch(self, bursts: Bursts) -> Bursts:
        """Return the answer, whose cost is settled at its end."""
        self._sent = True
        self._visit.measure()
        return Watched(bursts, self._end)

    def settle(self, usage: Usage) -> None:
        """Settle what a request has cost."""
        self._sent = True
        tokens = usage.input_tokens + usage.output_tokens
        costs: dict[str, int] = {}
        for bound in self._bounds:
            if bound.rule.unit == "tokens":
                costs[bound.counter] = tokens
            elif bound.rule.unit == "money":
                money = Decimal(0) if not tokens else self._cost(usage)
                if money is None:
                    # What was reserved stays counted: an answer without a price is not free.
                    _log.warning("limit.no_price request=%s", self._reserved.id)
                else:
                    costs[bound.counter] = int(money.scaleb(MONEY_PLACES))
        self._seen = self._counters.settle(self._reserved, costs)

    async def end(self) -> None:
        """Settle what an answer has cost, before its client hears of its end.

        Another worker may get the client's next request: it waits until all see the cost.
        """
        if (seen := self._end(None)) is not None:
            await asyncio.wait((seen,))  # to stop waiting does not stop it

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Take the reservation back if nothing was sent; a client that is there waits for that."""
        if not self._sent:
            self._counters.undo(self._reserved)
        elif self._seen is not None and (kind is None or issubclass(kind, BerlinError)):
            await asyncio.wait((self._seen,))

    def _end(self, how: BaseException | None) -> asyncio.Future[None] | None:
        if self._ended:
            return self._seen
        self._ended = True
        visit = self._visit
        usage = usage_with(
            visit.usage, self._demand.input_tokens, visit.text_chars, whole=how is None
        )
        if how is not None and how is not LEFT and visit.first_event_at is None:
            usage = Usage()  # the service failed before it answered
        self.settle(usage)
        if how is None:
            self._learn(usage)
        return self._seen
