"""Admits requests within budgets and rates: reserves what one may cost, and settles what it did."""

from __future__ import annotations

import logging
import math
from decimal import Decimal
from functools import partial
from typing import NamedTuple, NoReturn

import msgspec

from berlin.config.tables.limits import MONEY_PLACES, LimitsConfig, Rule
from berlin.config.tables.prices import PriceTable
from berlin.errors import BudgetReachedError, ConfigurationError, OverloadedError
from berlin.gateway.access.caller import Caller
from berlin.gateway.access.limits.bounds import Bound, bounds_of
from berlin.gateway.access.limits.headers import Level, go_duration, headers_of_levels, rfc3339
from berlin.gateway.access.limits.history import History
from berlin.gateway.access.limits.spending import Demand, Spending
from berlin.gateway.catalog import Target
from berlin.gateway.observe.visit import Visit
from berlin.ledger.prices import Prices
from berlin.routing.counters.contract import (
    HELD_WAIT_S,
    Calendar,
    Claim,
    Counters,
    Refusal,
    Sliding,
)
from berlin.routing.counters.learned import Learned
from berlin.routing.counters.memory import MemoryCounters
from berlin.types import Usage

FIRST_ANSWER_TOKENS = 1_000
MAX_KNOWN = 10_000
# After a longer wait a client should not try again by itself.
SHORT_WAIT_S = 60.0

_log = logging.getLogger("berlin.gateway")


class _Plan(NamedTuple):
    """The limits of the requests of one caller for one model.

    Attributes:
        bounds: the limits.
        claims: what a request needs of each, as far as that is known before it is made.
        names: the names under which its costs are learned.
    """

    bounds: tuple[Bound, ...]
    claims: tuple[Claim, ...]
    names: tuple[object, ...]


class Limiter:
    """Keeps requests within the limits of their key, user and model.

    What a request may cost is reserved before it is sent: its prompt, and the 95th percentile of
    what answers of this model to this key have cost; at its end the actual cost takes its place. At
    the end of a budget one more request may take more than is left, if no other is running.

    Args:
        config: the limits of the configuration.
        prices: the prices of models.
        counters: counts what is limited.
        history: asks the ledger, if there is one, for what was used before a counter was lost.
    """

    def __init__(
        self,
        config: LimitsConfig | None = None,
        prices: PriceTable | None = None,
        counters: Counters | None = None,
        history: History | None = None,
    ) -> None:
        self.use(config or LimitsConfig(), prices or {})
        self._counters = counters or MemoryCounters()
        self._history = history
        self._answers = Learned(FIRST_ANSWER_TOKENS)
        self._surplus = Learned(0)

    def use(self, config: LimitsConfig, prices: PriceTable) -> None:
        """Replace the limits and prices; what was used stays counted."""
        self._config = config
        self._prices = Prices(prices)
        self._any = config != LimitsConfig(config.time_zone, config.warn_percent)
        self._plans: dict[tuple[Caller | None, str], _Plan] = {}

    def concerns(self, caller: Caller | None) -> bool:
        """Return whether any limit may hold for a caller."""
        return self._any or (caller is not None and caller.has_limits)

    async def admit(
        self, visit: Visit, caller: Caller | None, target: Target, demand: Demand
    ) -> Spending | None:
        """Reserve what a request may cost; `None` if nothing limits it.

        Args:
            visit: the request; it gets the headers that say what is left.
            caller: who asks.
            target: what is asked.
            demand: what is known about its cost.

        Raises:
            OverloadedError: if a limit by the minute or hour is reached.
            BudgetReachedError: if a limit by the day or month is reached.
            ConfigurationError: if money is limited and the model has no price.
        """
        bounds, claims, names = self._plan(caller, target)
        if not bounds:
            return None
        counters = self._counters
        expected = self._expect(demand, names)
        wanted = [
            claim if claim.kept else self._claim(claim, bound.rule, target, expected)
            for bound, claim in zip(bounds, claims, strict=True)
        ]
        reserved = await counters.reserve(visit.id, wanted)
        now = counters.now()
        if isinstance(reserved, Refusal):
            # By name: with Redis away the claim is one for the share of this process.
            bound = next(each for each in bounds if each.counter == reserved.claim.counter)
            self._refuse(visit, bound, reserved, now)
        levels = [
            Level(bound, used, _resets_s(bound, now), 0 if claim.kept else claim.amount)
            for bound, claim, used in zip(bounds, wanted, reserved.used, strict=True)
        ]
        self._show(visit, levels, now)

        def cost(usage: Usage) -> Decimal | None:
            started = visit.started
            if started is None or not started.provider:
                return self._prices.cost(target.service.name, _model(target), usage, counters.now())
            return self._prices.cost(started.provider, started.model, usage, counters.now())

        def learn(usage: Usage) -> None:
            self._answers.learn(usage.output_tokens, *names)
            self._surplus.learn(max(usage.input_tokens - demand.input_tokens, 0), *names)

        return Spending(counters, reserved, bounds, visit, demand, cost, learn)

    async def aclose(self) -> None:
        """Close files and connections."""
        await self._counters.aclose()

    def _plan(self, caller: Caller | None, target: Target) -> _Plan:
        """Return the limits that hold for a caller's requests."""
        model = target.full_name
        found = self._plans.get((caller, model))
        if found is None:
            if len(self._plans) >= MAX_KNOWN:
                self._plans.clear()
            bounds = bounds_of(self._config, caller, model)
            claims = tuple(map(self._kept_claim, bounds))
            names = ((caller.id if caller is not None else "", model), model)
            found = self._plans[caller, model] = _Plan(bounds, claims, names)
        return found

    def _kept_claim(self, bound: Bound) -> Claim:
        """Return the claim of one request; other amounts than a number of requests are unknown."""
        before = None
        if self._history is not None and bound.lasts:
            before = partial(self._history.used_since, bound)
        requests, most = bound.rule.unit == "requests", bound.rule.amount
        return Claim(bound.counter, bound.window, most, 1, requests, not requests, before)

    def _expect(self, demand: Demand, names: tuple[object, ...]) -> Usage:
        """Return the tokens that a request will probably cost."""
        answer = self._answers.expect(*names)
        if demand.most_output is not None:
            answer = min(answer, demand.most_output)
        return Usage(demand.input_tokens + self._surplus.expect(*names), answer)

    def _claim(self, claim: Claim, rule: Rule, target: Target, expected: Usage) -> Claim:
        amount = expected.input_tokens + expected.output_tokens
        if rule.unit == "money":
            amount = _nano(self._expected_cost(target, expected, rule))
        return msgspec.structs.replace(claim, amount=min(amount, rule.amount))

    def _expected_cost(self, target: Target, expected: Usage, rule: Rule) -> Decimal:
        now = self._counters.now()
        cost = self._prices.cost(target.service.name, _model(target), expected, now)
        if cost is None and target.service.is_routed:
            # Any of its models may answer, so the dearest price is reserved.
            cost = self._prices.dearest(expected)
        if cost is None:
            raise ConfigurationError(
                f"{rule.text} is a limit of money, and {target.full_name} has no price: add it to "
                "[prices], with 0 if it is free"
            )
        return cost

    def _show(self, visit: Visit, levels: list[Level], now: float) -> None:
        warn = self._config.warn_percent
        visit.more_headers = headers_of_levels(levels, visit.face, now, warn)

    def _refuse(self, visit: Visit, bound: Bound, refusal: Refusal, now: float) -> NoReturn:
        wait_s = max(refusal.wait_s, 0.001) if math.isfinite(refusal.wait_s) else 1.0
        rule = bound.rule
        reserved = rule.unit != "requests" and refusal.used - refusal.held < refusal.claim.limit
        resets_s = wait_s if not reserved else _resets_s(bound, now)
        self._show(visit, [Level(bound, refusal.used, resets_s, refusal.held)], now)
        said = f"the limit of {rule.text} of {bound.owner} is reached; nothing was sent"
        if reserved:
            wait_s = min(wait_s, HELD_WAIT_S)
            said = (
                f"what is left of {rule.text} of {bound.owner} is reserved by requests that are "
                "running; try again in a moment"
            )
        elif bound.lasts:
            said += f". It resets at {rfc3339(now + wait_s)}, in {go_duration(wait_s)}"
        else:
            said += f". There is room again in {go_duration(wait_s)}"
        _log.info("limit.reached request=%s counter=%s", visit.id, bound.counter)
        if wait_s > SHORT_WAIT_S:
            raise BudgetReachedError(said, retry_after=wait_s)
        raise OverloadedError(said, retry_after=wait_s)


def _resets_s(bound: Bound, now: float) -> float:
    window = bound.window
    if isinstance(window, Calendar):
        return max(window.bounds(now)[1] - now, 0.001)
    return window.span_s if isinstance(window, Sliding) else 1.0


def _model(target: Target) -> str:
    return target.model or target.service.default


def _nano(money: Decimal) -> int:
    return int(money.scaleb(MONEY_PLACES))
