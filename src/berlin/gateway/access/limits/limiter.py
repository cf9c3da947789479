"""Admits requests within budgets and rates: reserves what one may cost, and settles what it did."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

import msgspec

from berlin.config.tables.limits import LimitsConfig
from berlin.config.tables.prices import PriceTable
from berlin.errors import BudgetReachedError, OverloadedError
from berlin.gateway.access.caller import Caller
from berlin.gateway.access.limits.bounds import Bound, bounds_of
from berlin.gateway.access.limits.headers import Level, go_duration, headers_of_levels, rfc3339
from berlin.gateway.access.limits.history import History
from berlin.gateway.access.limits.spending import Costs, Demand, Plan, Spending
from berlin.gateway.catalog import Target
from berlin.gateway.observe.visit import Visit
from berlin.ledger.prices import Prices
from berlin.routing.counters.contract import HELD_WAIT_S, Claim, Counters, Refusal
from berlin.routing.counters.memory import MemoryCounters
from berlin.types import Usage

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
        self._counters = counters or MemoryCounters()
        self._costs = Costs(self._counters.now)
        self._history = history
        self.use(config or LimitsConfig(), prices or {})

    def use(self, config: LimitsConfig, prices: PriceTable) -> None:
        """Replace the limits and prices; what was used stays counted."""
        self._config = config
        self._costs.prices = Prices(prices)
        self._any = config != LimitsConfig(config.time_zone, config.warn_percent)
        self._plans: dict[tuple[Caller | None, str], Plan] = {}

    def concerns(self, caller: Caller | None) -> bool:
        """Return whether any limit may hold for a caller."""
        return self._any or (caller is not None and caller.has_limits)

    async def admit(
        self, visit: Visit, caller: Caller | None, target: Target, estimate: Callable[[], Demand]
    ) -> Spending | None:
        """Reserve what a request may cost; `None` if nothing limits it.

        Args:
            visit: the request; it gets the headers that say what is left.
            caller: who asks.
            target: what is asked.
            estimate: returns what is known about its cost.

        Raises:
            OverloadedError: if a limit by the minute or hour is reached.
            BudgetReachedError: if a limit by the day or month is reached.
            ConfigurationError: if money is limited and the model has no price.
        """
        model = target.full_name
        plan = self._plans.get((caller, model)) or self._plan(caller, model)
        bounds = plan.bounds
        if not bounds:
            return None
        claims: Sequence[Claim] = plan.claims
        demand = None
        if plan.counts_answers:
            demand = estimate()
            claims = self._claims(plan, target, self._costs.expect(demand, plan.names))
        counters = self._counters
        reserved = await counters.reserve(visit.id, claims)
        now = counters.now()
        if isinstance(reserved, Refusal):
            # By name: with Redis away the claim is one for the share of this process.
            bound = next(each for each in bounds if each.counter == reserved.claim.counter)
            self._refuse(visit, bound, reserved, now)
        levels = []
        for bound, claim, used in zip(bounds, claims, reserved.used, strict=True):
            levels.append(Level(bound, used, None, 0 if claim.kept else claim.amount))
        self._show(visit, levels, now)
        return Spending(counters, self._costs, plan, reserved, visit, target, demand)

    async def aclose(self) -> None:
        """Close files and connections."""
        await self._counters.aclose()

    def _plan(self, caller: Caller | None, model: str) -> Plan:
        """Return the limits that hold for a caller's requests."""
        if len(self._plans) >= MAX_KNOWN:
            self._plans.clear()
        bounds = bounds_of(self._config, caller, model)
        claims = tuple(map(self._claim, bounds))
        names = ((caller.id if caller is not None else "", model), model)
        counts_answers = not all(claim.kept for claim in claims)
        plan = self._plans[caller, model] = Plan(bounds, claims, counts_answers, names)
        return plan

    def _claim(self, bound: Bound) -> Claim:
        """Return the claim of one request; other amounts than a number of requests are unknown."""
        before = None
        if self._history is not None and bound.lasts:
            before = partial(self._history.used_since, bound)
        requests, most = bound.rule.unit == "requests", bound.rule.amount
        return Claim(bound.counter, bound.window, most, 1, requests, not requests, before)

    def _claims(self, plan: Plan, target: Target, expected: Usage) -> list[Claim]:
        """Return the claims of a request of which these tokens are expected."""
        claims = []
        for bound, claim in zip(plan.bounds, plan.claims, strict=True):
            if not claim.kept:
                amount = expected.input_tokens + expected.output_tokens
                if bound.rule.unit == "money":
                    amount = self._costs.expect_money(target, expected, bound.rule)
                claim = msgspec.structs.replace(claim, amount=min(amount, claim.limit))
            claims.append(claim)
        return claims

    def _show(self, visit: Visit, levels: Sequence[Level], now: float) -> None:
        warn = self._config.warn_percent
        visit.more_headers = headers_of_levels(levels, visit.face, now, warn)

    def _refuse(self, visit: Visit, bound: Bound, refusal: Refusal, now: float) -> NoReturn:
        wait_s = max(refusal.wait_s, 0.001) if math.isfinite(refusal.wait_s) else 1.0
        rule = bound.rule
        reserved = rule.unit != "requests" and refusal.used - refusal.held < refusal.claim.limit
        resets_s = None if reserved else wait_s
        self._show(visit, [Level(bound, refusal.used, resets_s, refusal.held)], now)
        message = f"the limit of {rule.text} of {bound.owner} is reached; nothing was sent"
        if reserved:
            wait_s = min(wait_s, HELD_WAIT_S)
            message = (
                f"what is left of {rule.text} of {bound.owner} is reserved by requests that are "
                "running; try again in a moment"
            )
        elif bound.lasts:
            message += f". It resets at {rfc3339(now + wait_s)}, in {go_duration(wait_s)}"
        else:
            message += f". There is room again in {go_duration(wait_s)}"
        _log.info("limit.reached request=%s counter=%s", visit.id, bound.counter)
        if wait_s > SHORT_WAIT_S:
            raise BudgetReachedError(message, retry_after=wait_s)
        raise OverloadedError(message, retry_after=wait_s)
