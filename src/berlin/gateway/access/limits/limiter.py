"""Admits requests within budgets and rates: reserves what one may cost, and settles what it did."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import NoReturn

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
    Reservation,
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


class Limiter:
    """Keeps requests within the limits of their key, user and model.

    What a request may cost is reserved before it is sent: its prompt, and the 95th percentile of
    what answers of this model to this key have cost; at its end the actual cost takes its place. At
    the end of a budget one more request may take more than is left, if no other is running.

    Args:
        config: the limits of the configuration.
        prices: the prices of models.
        counters: counts what is limited by the minute or hour.
        lasting: returns what counts days and months, which outlives a restart.
        history: asks the ledger, if there is one, for what was used before a counter was lost.
    """

    def __init__(
        self,
        config: LimitsConfig | None = None,
        prices: PriceTable | None = None,
        counters: Counters | None = None,
        lasting: Callable[[], Counters] | None = None,
        history: History | None = None,
    ) -> None:
        self.use(config or LimitsConfig(), prices or {})
        self._counters = counters or MemoryCounters()
        self._open_lasting = lasting
        self._lasting: Counters | None = None
        self._history = history
        self._answers = Learned(FIRST_ANSWER_TOKENS)
        self._surplus = Learned(0)

    def use(self, config: LimitsConfig, prices: PriceTable) -> None:
        """Replace the limits and prices; what was used stays counted."""
        self._config = config
        self._prices = Prices(prices)
        self._any = config != LimitsConfig(config.time_zone, config.warn_percent)
        self._known: dict[tuple[Caller | None, str], tuple[Bound, ...]] = {}

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
        bounds = self.bounds(caller, target)
        if not bounds:
            return None
        counters = self._counters_of(bounds)
        names = ((visit.key, target.full_name), target.full_name)
        expected = self._expect(demand, names)
        claims = [self._claim(bound, target, expected, counters.now()) for bound in bounds]
        reserved = await counters.reserve(visit.id, claims)
        if isinstance(reserved, Refusal):
            # By name: with Redis away the claim is one for the share of this process.
            bound = next(each for each in bounds if each.counter == reserved.claim.counter)
            self._refuse(visit, bound, reserved, counters.now())
        levels = self._levels(bounds, reserved, counters.now())
        self._show(visit, levels, counters.now())

        def cost(usage: Usage) -> Decimal | None:
            started = visit.started
            if started is None or not started.provider:
                return self._prices.cost(target.service.name, _model(target), usage, counters.now())
            return self._prices.cost(started.provider, started.model, usage, counters.now())

        def learn(usage: Usage) -> None:
            self._answers.learn(usage.output_tokens, *names)
            self._surplus.learn(max(usage.input_tokens - demand.input_tokens, 0), *names)

        return Spending(counters, reserved, bounds, demand, cost, learn)

    def bounds(self, caller: Caller | None, target: Target) -> tuple[Bound, ...]:
        """Return the limits that hold for a caller's request."""
        key = (caller, target.full_name)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            found = self._known[key] = bounds_of(self._config, caller, target.full_name)
        return found

    async def aclose(self) -> None:
        """Close files and connections."""
        for counters in {self._counters, self._lasting or self._counters}:
            await counters.aclose()

    def _counters_of(self, bounds: tuple[Bound, ...]) -> Counters:
        if self._open_lasting is None or not any(bound.lasts for bound in bounds):
            return self._counters
        if self._lasting is None:
            self._lasting = self._open_lasting()
        return self._lasting

    def _expect(self, demand: Demand, names: tuple[object, ...]) -> Usage:
        """Return the tokens that a request will probably cost."""
        answer = self._answers.expect(*names)
        if demand.most_output is not None:
            answer = min(answer, demand.most_output)
        return Usage(demand.input_tokens + self._surplus.expect(*names), answer)

    def _claim(self, bound: Bound, target: Target, expected: Usage, now: float) -> Claim:
        rule = bound.rule
        before = None
        if self._history is not None and bound.lasts:
            before = partial(self._history.used_since, bound)
        if rule.unit == "requests":
            return Claim(bound.counter, bound.window, rule.amount, 1, kept=True, before=before)
        amount = expected.input_tokens + expected.output_tokens
        if rule.unit == "money":
            amount = _nano(self._expected_cost(target, expected, rule, now))
        amount = min(amount, rule.amount)
        return Claim(bound.counter, bound.window, rule.amount, amount, overdraw=True, before=before)

    def _expected_cost(self, target: Target, expected: Usage, rule: Rule, now: float) -> Decimal:
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

    def _levels(self, bounds: tuple[Bound, ...], reserved: Reservation, now: float) -> list[Level]:
        return [
            Level(bound, used, _resets_s(bound, now), 0 if claim.kept else claim.amount)
            for bound, claim, used in zip(bounds, reserved.claims, reserved.used, strict=True)
        ]

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
    match bound.window:
        case Calendar() as period:
            return max(period.bounds(now)[1] - now, 0.001)
        case Sliding(span_s):
            return span_s
        case _:
            return 1.0


def _model(target: Target) -> str:
    return target.model or target.service.default


def _nano(money: Decimal) -> int:
    return int(money.scaleb(MONEY_PLACES))
