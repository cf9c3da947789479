"""Figures as JSON, the same for `berlin usage --json` and `GET /v1/usage`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from berlin.ledger.figures import SUMS, Figures, Query, total_of


def usage_resource(groups: list[Figures], query: Query, currency: str) -> dict[str, Any]:
    """Return the object for the figures of a query."""
    return {
        "object": "usage",
        "since": _time(query.since),
        "until": _time(query.until),
        "by": query.by,
        "currency": currency or None,
        "total": figures_resource(total_of(groups)),
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
