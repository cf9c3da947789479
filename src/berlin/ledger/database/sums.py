"""The statement that sums up requests, and the figures of its rows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    String,
    case,
    cast,
    extract,
    func,
    select,
    type_coerce,
)

from berlin.ledger.database.tables import requests
from berlin.ledger.figures import SUMS, Figures, Query
from berlin.routing.counters.calendar import zone_of

# Days begin at another time in each zone, but always at a quarter of an hour.
_QUARTER_S = 900

_columns = requests.c


def statement(query: Query, dialect: str) -> Select[Any]:
    """Return the statement for a query: the groups, and the sums of each in the order of `SUMS`."""
    groups = _groups(query, dialect)
    found = select(*groups, *(_SUMS[name].label(name) for name in SUMS)).group_by(*groups)
    if query.since is not None:
        found = found.where(_columns.at >= query.since)
    if query.until is not None:
        found = found.where(_columns.at < query.until)
    for column, name in ((_columns.key, query.key), (_columns.user, query.user)):
        if name is not None:
            found = found.where(column == name)
    if query.most is not None and query.by not in (None, "day"):
        highest = (func.coalesce(_SUMS["cost_nanos"], 0).desc(), _SUMS["requests"].desc())
        found = found.order_by(*highest, *groups).limit(query.most)
    return found


def figures(query: Query, rows: Iterable[Any]) -> list[Figures]:
    """Return the figures of the rows of the statement, sorted."""
    named: dict[str, Figures] = {}
    size = len(SUMS)
    for row in rows:
        name = _name(query, row[:-size])
        sums = dict(zip(SUMS, (int(value or 0) for value in row[-size:]), strict=True))
        named.setdefault(name, Figures(group=name)).add(msgspec.convert(sums, Figures))
    if query.by == "day":
        return [named[name] for name in sorted(named)]
    return sorted(named.values(), key=lambda f: (-f.cost_nanos, -f.requests, f.group))


def _groups(query: Query, dialect: str) -> list[ColumnElement[Any]]:
    match query.by:
        case None:
            return []
        case "day":
            # Neither database cuts off a fraction of a second by itself: both round.
            if dialect == "sqlite":
                to_the_second = func.substr(type_coerce(_columns.at, String), 1, 19)
                seconds = cast(func.strftime("%s", to_the_second), Integer)
            else:
                seconds = cast(func.floor(extract("epoch", _columns.at)), BigInteger)
            return [(seconds // _QUARTER_S).label("quarter")]
        case "model":
            return [_columns.provider, _columns.model]
        case by:
            # The cast keeps SQLite from reading every row through the index of keys, out of order.
            return [cast(_columns[by], String).label("name")]


def _name(query: Query, group: tuple[Any, ...]) -> str:
    if query.by == "day":
        at = datetime.fromtimestamp(int(group[0]) * _QUARTER_S, UTC)
        return at.astimezone(zone_of(query.zone)).date().isoformat()
    return ":".join(str(part) for part in group).removesuffix(":")


def _count(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.sum(case((condition, 1), else_=0).cast(Integer))


_SUMS: dict[str, ColumnElement[Any]] = {
    "requests": func.count(),
    "failed": _count(_columns.outcome != "ok"),
    **{
        name: func.sum(_columns[name])
        for name in ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
    },
    "estimated": _count(_columns.estimated),
    "unknown": _count(_columns.input_tokens.is_(None)),
    "unpriced": _count(_columns.input_tokens.is_not(None) & _columns.cost_nanos.is_(None)),
    "cost_nanos": func.sum(_columns.cost_nanos),
}
