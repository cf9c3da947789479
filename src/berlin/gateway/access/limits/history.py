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

WAIT_S = 5.0

_log = logging.getLogger("berlin.gateway")


class History:
    """Asks the ledger what was used of limits.

    Args:
        sums: sums up the rows of the ledger.
    """

    def __init__(self, sums: Sums) -> None:
        self._sums = sums
        self._asked: dict[tuple[str, float], asyncio.Task[int]] = {}

    async def used_since(self, bound: Bound, begins: float) -> int:
        """Return what was used of a limit since a time in seconds since the epoch.

        It is 0, with a line in the log, if the ledger does not answer. Requests that need the same
        figure at the same time share one question.
        """
        key = (bound.counter, begins)
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._ask(bound, begins))
            task.add_done_callback(lambda _: self._asked.pop(key, None))
        return await asyncio.shield(task)

    async def _ask(self, bound: Bound, begins: float) -> int:
        kind, _, name = bound.subject.partition(":")
        query = Query(
            by="model",
            since=datetime.fromtimestamp(begins, UTC),
            key=name if kind == "key" else None,
            user=name if kind == "user" else None,
        )
        try:
            async with asyncio.timeout(WAIT_S):
                groups = await self._sums(query)
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
