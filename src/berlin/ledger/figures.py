"""Sums over the requests in the ledger: how they are asked for, and their form as JSON."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import msgspec

from berlin.ledger.prices import PLACES

Grouping: TypeAlias = Literal["key", "user", "model", "provider", "day"]
GROUPINGS: tuple[Grouping, ...] = ("key", "user", "model", "provider", "day")


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A request for sums.

    Attributes:
        by: what each sum is for; `None` for one sum of everything.
        since: the first time.
        until: the end, which is not included.
        key: only the requests of this key; `None` for those of all.
        user: only the requests of this user; `None` for those of all.
        zone: the time zone in which days begin, such as `Europe/Berlin`.
        most: the most groups other than days, those with the highest costs; by default all.
    """

    by: Grouping | None = None
    since: datetime | None = None
    until: datetime | None = None
    key: str | None = None
    user: str | None = None
    zone: str = "UTC"
    most: int | None = None


class Figures(msgspec.Struct, kw_only=True):
    """The sums of one group.

    Attributes:
        group: the key, user, model, provider or day; `""` for everything.
        requests: the number of requests.
        failed: how many of them did not end well, the client's leaving included.
        input_tokens: known tokens of requests.
        output_tokens: known tokens of answers.
        cached_tokens: how many of the requests' tokens the service had in its cache.
        reasoning_tokens: how many of the answers' tokens were reasoning.
        estimated: how many requests have estimated tokens.
        unknown: how many requests have unknown tokens.
        unpriced: how many requests with known tokens have no cost, because there is no price.
        cost_nanos: the known costs, in billionths.
    """

    group: str = ""
    requests: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: int = 0
    unknown: int = 0
    unpriced: int = 0
    cost_nanos: int = 0

    @property
    def cost(self) -> Decimal:
        """The known costs."""
        return Decimal(self.cost_nanos).scaleb(-PLACES)

    def add(self, other: Figures) -> None:
        """Add the sums of another group."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


SUMS = tuple(name for name in Figures.__struct_fields__ if name != "group")


def total_of(groups: list[Figures]) -> Figures:
    """Return the sum of all groups."""
    total = Figures()
    for group in groups:
        total.add(group)
    return total


def usage_resource(
    groups: list[Figures], query: Query, currency: str, total: Figures | None = None
) -> dict[str, Any]:
    """Return the object for figures, as `berlin usage --json` and `GET /v1/usage` give it.

    Args:
        total: the sum of all groups, if some are missing.
    """
    return {
        "object": "usage",
        "since": _time(query.since),
        "until": _time(query.until),
        "by": query.by,
        "currency": currency or None,
        "total": figures_resource(total or total_of(groups)),
        "data": [{query.by: group.group, **figures_resource(group)} for group in groups]
        if query.by is not None
        else [],
    }


def figures_resource(group: Figures) -> dict[str, Any]:
    """Return the sums of a group; money is a decimal number as text, so that it stays exact."""
    values: dict[str, Any] = {name: getattr(group, name) for name in SUMS if name != "cost_nanos"}
    return {**values, "cost": f"{group.cost:f}"}


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
