"""Calculates what an answer costs, by the prices in the configuration.

Money is a `Decimal` in the currency of those prices, rounded to `PLACES` decimal places.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import lru_cache

from berlin.config.tables.prices import Price, PriceTable, list_prices
from berlin.types import Usage

PLACES = 9
MAX_TOKENS = 10**12
_SMALLEST = Decimal(1).scaleb(-PLACES)
_MILLION = Decimal(1_000_000)
# Clients choose the names, so a bounded number is remembered, and a bounded part of each compared.
_MAX_NAMES = 1024
_MAX_NAME_CHARS = 256


class Prices:
    """The prices of models.

    Names are compared without regard to case. Of several patterns that match a model, the one with
    the most characters besides its `*` counts; list prices count only where no other one matches.

    Args:
        table: `[prices]` of the configuration.
    """

    def __init__(self, table: PriceTable | None = None) -> None:
        own: dict[str, tuple[Price, ...]] = {}
        listed: dict[str, tuple[Price, ...]] = {}
        for pattern, found in (table or {}).items():
            if isinstance(found, str):
                provider = pattern.removesuffix("*")
                listed |= {provider + model: p for model, p in list_prices()[found].items()}
            else:
                own[pattern] = found if isinstance(found, tuple) else (found,)
        self._patterns = [
            (_compile(pattern), _History(entries[pattern]))
            for entries in (own, listed)
            for pattern in sorted(entries, key=lambda p: (p.count("*") - len(p), p.count("*")))
        ]
        self._find = lru_cache(_MAX_NAMES)(self._search)

    def cost(self, provider: str, model: str, usage: Usage, at: float) -> Decimal | None:
        """Return the cost of an answer; `None` if its model has no price.

        Args:
            provider: the name of the provider that answered.
            model: its name of the model.
            usage: the tokens. Cached ones and those written to the cache are part of the input,
                reasoning is part of the output.
            at: when it was asked, in seconds since the epoch.
        """
        price = self.price(provider, model, at, usage.input_tokens)
        return None if price is None else cost_at(price, usage)

    def price(self, provider: str, model: str, at: float, input_tokens: int = 0) -> Price | None:
        """Return the price of a model at a time in seconds since the epoch, or `None`.

        Args:
            provider: the name of the provider.
            model: its name of the model.
            at: the time.
            input_tokens: the length of the request, for models whose price depends on it.
        """
        found = self._find(provider, model[:_MAX_NAME_CHARS]) if self._patterns else None
        return None if found is None else found.at(at, input_tokens)

    def dearest(self, usage: Usage) -> Decimal | None:
        """Return the most that tokens cost at any price; `None` if there are no prices."""
        every = (price for _, history in self._patterns for price in history.prices)
        return max((cost_at(price, usage) for price in every), default=None)

    def _search(self, provider: str, model: str) -> _History | None:
        name = f"{provider}:{model}".casefold()
        matching = (history for pattern, history in self._patterns if pattern.fullmatch(name))
        return next(matching, None)


def cost_at(price: Price, usage: Usage) -> Decimal:
    """Return the cost of tokens at a price."""
    # A service may count wrongly: no part is more than the whole, and no count is beyond measure.
    asked, answered = _part(usage.input_tokens, MAX_TOKENS), _part(usage.output_tokens, MAX_TOKENS)
    cached = _part(usage.cached_tokens, asked)
    written = _part(usage.cache_write_tokens, asked - cached)
    reasoning = _part(usage.reasoning_tokens, answered)
    total = (
        price.input * (asked - cached - written)
        + _or(price.cached, price.input) * cached
        + _or(price.cache_write, price.input) * written
        + price.output * (answered - reasoning)
        + _or(price.reasoning, price.output) * reasoning
    )
    return (total / _MILLION).quantize(_SMALLEST)


def _part(count: int | None, whole: int) -> int:
    return min(max(count or 0, 0), whole)


def _or(price: Decimal | None, otherwise: Decimal) -> Decimal:
    return otherwise if price is None else price


class _History:
    """The prices of one pattern over time."""

    def __init__(self, prices: tuple[Price, ...]) -> None:
        self.prices = prices
        self._begins = sorted({_begins(price) for price in prices})
        longest_first = sorted(prices, key=lambda price: -price.over)
        self._prices = [
            [price for price in longest_first if _begins(price) == begin] for begin in self._begins
        ]

    def at(self, at: float, input_tokens: int) -> Price | None:
        """Return the price at a time for a request of a length; `None` before the first one."""
        index = bisect_right(self._begins, at)
        known = self._prices[index - 1] if index else []
        return next((p for p in known if not p.over or input_tokens > p.over), None)


def _begins(price: Price) -> float:
    if price.since is None:
        return float("-inf")
    return datetime.combine(price.since, time(), UTC).timestamp()


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.casefold().split("*"))), re.DOTALL)
