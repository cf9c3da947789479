"""The tables of `[prices]`: what a million tokens of a model cost, and since when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TypeAlias

import msgspec

MAX_PRICE = 10**9


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The price of a model from one day on, per million tokens.

    Attributes:
        since: the first day of this price, in UTC; `None` for ever.
        over: it counts for requests of more tokens than this, for the whole of them.
        input: of a request's tokens.
        output: of an answer's tokens.
        cached: of a request's tokens that the service had in its cache; by default as `input`.
        cache_write: of a request's tokens that it wrote to its cache; by default as `input`.
        reasoning: of an answer's tokens that were reasoning; by default as `output`.
    """

    input: Decimal
    output: Decimal
    since: date | None = None
    over: int = 0
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached", "cache_write", "reasoning"):
            value = getattr(self, name)
            if value is not None and not (value.is_finite() and 0 <= value <= MAX_PRICE):
                raise ValueError(f"{name} must be a price of 0 or more, not {value}")
        if self.over < 0:
            raise ValueError("over must be a number of tokens")


PriceTable: TypeAlias = dict[str, Price | tuple[Price, ...] | str]
"""By `provider:model`, where `*` matches any text: one price, one for each date, or the name of
a vendor whose list prices are used."""

_LISTS = "list_prices.json"


class _ListPrices(msgspec.Struct, frozen=True):
    vendors: dict[str, dict[str, tuple[Price, ...]]]


@cache
def list_prices() -> Mapping[str, Mapping[str, tuple[Price, ...]]]:
    """Return the list prices in US dollars that ship with Berlin: vendor, pattern of the model."""
    data = Path(__file__).with_name(_LISTS).read_bytes()
    return msgspec.json.decode(data, type=_ListPrices).vendors


def check_prices(table: PriceTable) -> None:
    """Raise ValueError unless every pattern names a provider and a model, and each day has prices.

    From each day on there is a price for short requests, and one price for each length.
    """
    for pattern, found in table.items():
        provider, _, model = pattern.partition(":")
        if not (provider.strip() and model.strip()):
            raise ValueError(
                f"prices are for `provider:model`, such as `{pattern or 'work'}:*` for every model "
                f"of a provider or `*:{pattern or 'gpt-*'}` for a model of any, not {pattern!r}"
            )
        if isinstance(found, str):
            _check_list(pattern, model, found)
            continue
        prices = found if isinstance(found, tuple) else (found,)
        days = Counter((price.since, price.over) for price in prices)
        if days.total() != len(days):
            raise ValueError(f"{pattern!r} has two prices with the same since and over")
        if {since for since, _ in days} != {since for since, over in days if not over}:
            raise ValueError(f"{pattern!r} needs a price without over for each since")


def _check_list(pattern: str, model: str, vendor: str) -> None:
    if vendor not in list_prices():
        known = ", ".join(sorted(list_prices()))
        raise ValueError(
            f"{pattern!r} asks for the list prices of {vendor[:40]!r}; there are those of {known}"
        )
    if model != "*":
        raise ValueError(
            f"{pattern!r} has the list prices of {vendor}: they are for every model, so write "
            f"`{pattern.partition(':')[0]}:*`"
        )
