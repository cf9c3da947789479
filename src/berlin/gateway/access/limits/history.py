"""What the ledger has of a day or month: where a budget begins whose counter has been lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeAlias

from berlin.errors import BerlinError
from berlin.gateway.access.limits.bounds import Bound, covers
from berlin.ledger.figures import Figures, Query, total_of

Sums: TypeAlias = Callable[[Query], Awaitable[list[Figures]]]

WAIT_S = 1.0

_log = logging.getLogger("berlin.gateway")


async def used_since(sums: Sums, bound: Bound, begins: float) -> int:
    """Return what was used of a limit since the beginning of its period; 0 if that is unknown.

    Args:
        sums: asks the ledger.
        bound: the limit.
        begins: in seconds since the epoch.
    """
    kind, _, name = bound.subject.partition(":")
    query = Query(
        by="model",
        since=datetime.fromtimestamp(begins, UTC),
        key=name if kind == "key" else None,
        user=name if kind == "user" else None,
    )
    try:
        async with asyncio.timeout(WAIT_S):
            groups = await sums(query)
    except (BerlinError, TimeoutError) as error:
        _log.warning("limit.begins_anew counter=%s: %s", bound.counter, error or "no answer")
        return 0
    total = total_of(
        [
            each
            for each in groups
            if bound.rule.applies(each.group) and (kind != "model" or covers(name, each.group))
        ]
    )
    match bound.rule.unit:
        case "requests":
            return total.requests
        case "tokens":
            return total.input_tokens + total.output_tokens
        case "money":
            return total.cost_nanos
