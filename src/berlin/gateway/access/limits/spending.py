"""What requests cost: what one is expected to, and what it did."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple, Self

import msgspec

from berlin.config.tables.limits import MONEY_PLACES, Rule
from berlin.errors import BerlinError, ConfigurationError
from berlin.formats.tokens import prompt_tokens
from berlin.gateway.access.limits.bounds import Bound
from berlin.gateway.answering import BeforeEnd
from berlin.gateway.catalog import Target
from berlin.gateway.observe.visit import Visit
from berlin.ledger.prices import Prices
from berlin.routing.counters.contract import Claim, Counters, Reservation
from berlin.routing.counters.learned import Learned
from berlin.types import ChatRequest, Usage
from berlin.types.usage import usage_with

FIRST_ANSWER_TOKENS = 1_000

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


class Costs:
    """The prices, and what answers have cost lately.

    Args:
        now: returns seconds since the epoch.

    Attributes:
        prices: the prices of models.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.prices = Prices()
        self._now = now
        self._answers = Learned(FIRST_ANSWER_TOKENS)
        self._surplus = Learned(0)

    def expect(self, demand: Demand, names: Sequence[object]) -> Usage:
        """Return the tokens that a request will probably cost, by what was learned of its names."""
        answer = self._answers.expect(names)
        if demand.most_output is not None:
            answer = min(answer, demand.most_output)
        return Usage(demand.input_tokens + self._surplus.expect(names), answer)

    def expect_money(self, target: Target, expected: Usage, rule: Rule) -> int:
        """Return the money that tokens will cost. Raises ConfigurationError without a price."""
        money = self._price(target.service.name, _model(target), expected)
        if money is None and target.service.is_routed:
            # Any of its models may answer, so the dearest price is reserved.
            money = self.prices.dearest(expected)
        if money is None:
            raise ConfigurationError(
                f"{rule.text} is a limit of money, and {target.full_name} has no price: add it to "
                "[prices], with 0 if it is free"
            )
        return _nano(money)

    def money(self, target: Target, visit: Visit, usage: Usage) -> int | None:
        """Return the money that an answer has cost; `None` if it has no price."""
        started = visit.started
        if started is not None and started.age_s is not None:
            return 0  # from Berlin's own cache
        if not usage.input_tokens + usage.output_tokens:
            return 0
        provider, model = target.service.name, _model(target)
        if started is not None and started.provider:
            provider, model = started.provider, started.model
        money = self._price(provider, model, usage)
        return None if money is None else _nano(money)

    def learn(self, usage: Usage, demand: Demand, names: Sequence[object]) -> None:
        """Record what a complete answer has cost."""
        self._answers.learn(usage.output_tokens, names)
        self._surplus.learn(max(usage.input_tokens - demand.input_tokens, 0), names)

    def _price(self, provider: str, model: str, usage: Usage) -> Decimal | None:
        return self.prices.cost(provider, model, usage, self._now())


class Plan(NamedTuple):
    """The limits of the requests of one caller for one model.

    Attributes:
        bounds: the limits.
        claims: what a request needs of each, as far as that is known before it is made.
        counts_answers: whether any of them counts what answers cost.
        names: the names under which that is learned.
    """

    bounds: tuple[Bound, ...]
    claims: tuple[Claim, ...]
    counts_answers: bool
    names: tuple[object, ...]


class Spending(msgspec.Struct, eq=False):
    """The reservation of one request; it is settled, or taken back, at the end of the block.

    Attributes:
        counters: where it is counted.
        costs: knows what it costs.
        plan: its limits.
        reserved: what is reserved.
        visit: its record, which counts its answer.
        target: what is asked.
        demand: what was known about its cost; `None` if that is not counted.
        is_sent: whether the request was sent, so that it counts.
        is_settled: whether it is settled, or taken back.
        seen: done when other processes see what it has cost; `None` if that is now.
    """

    counters: Counters
    costs: Costs
    plan: Plan
    reserved: Reservation
    visit: Visit
    target: Target
    demand: Demand | None
    is_sent: bool = False
    is_settled: bool = False
    seen: asyncio.Future[None] | None = None

    def sent(self) -> None:
        """Record that the request is sent: from now on it counts."""
        self.is_sent = True
        if self.demand is not None:
            self.visit.measure()

    def settle(self, usage: Usage) -> None:
        """Settle what the request has cost."""
        amounts: list[int | None] = []
        for bound in self.plan.bounds:
            amount = None
            if bound.rule.unit == "tokens":
                amount = usage.input_tokens + usage.output_tokens
            elif bound.rule.unit == "money":
                amount = self.costs.money(self.target, self.visit, usage)
                if amount is None:
                    # What was reserved stays counted: an answer without a price is not free.
                    _log.warning("limit.no_price request=%s", self.reserved.id)
            amounts.append(amount)
        self._settle(amounts)

    async def end(self, then: BeforeEnd | None = None) -> None:
        """Settle what an answer has cost, before its client hears of its end.

        Another worker may get the client's next request: it waits until all see the cost.
        """
        if not self.is_settled:
            self._settle_answer(None)
            if self.seen is not None:
                await asyncio.wait((self.seen,))  # to stop waiting does not stop it
        if then is not None:
            await then()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, _: object) -> None:
        """Settle it if that was not done; a client that is there waits until all see it."""
        if not self.is_sent:
            self._settle([0] * len(self.plan.bounds))
            return
        self._settle_answer(error)
        if self.seen is not None and (error is None or isinstance(error, BerlinError)):
            await asyncio.wait((self.seen,))

    def _settle_answer(self, error: BaseException | None) -> None:
        visit, demand = self.visit, self.demand
        error = error or visit.error
        if self.is_settled:
            return
        if demand is None:
            self._settle([None] * len(self.plan.bounds))
        elif isinstance(error, BerlinError) and visit.first_event_at is None:
            self.settle(Usage())  # the service failed before it answered
        else:
            whole = error is None
            usage = usage_with(visit.usage, demand.input_tokens, visit.text_chars, whole=whole)
            self.settle(usage)
            if whole:
                self.costs.learn(usage, demand, self.plan.names)

    def _settle(self, amounts: Sequence[int | None]) -> None:
        self.is_settled = True
        self.seen = self.counters.settle(self.reserved, amounts)


def _model(target: Target) -> str:
    return target.model or target.service.default


def _nano(money: Decimal) -> int:
    return int(money.scaleb(MONEY_PLACES))
