"""What a budget begins with, from the figures of the ledger."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from berlin.config.tables.limits import LimitsConfig
from berlin.errors import UnavailableError
from berlin.gateway.access.caller import Caller
from berlin.gateway.access.limits.bounds import bounds_of
from berlin.gateway.access.limits.history import History
from berlin.ledger.figures import Figures, Query

BEGINS = 1_795_000_000.0
GROUPS = [
    Figures(group="s:m1", requests=2, input_tokens=10, output_tokens=5, cost_nanos=7),
    Figures(group="s:m2", requests=1, input_tokens=100, output_tokens=50, cost_nanos=70),
    Figures(group="t:m1", requests=4, input_tokens=1000, output_tokens=500, cost_nanos=700),
]


@pytest.mark.parametrize(
    ("limits", "used", "key", "user"),
    [
        ({"keys": ("9 requests/day",)}, 7, "k", None),
        ({"keys": ("9 tokens/month",)}, 1665, "k", None),
        ({"keys": ("9 EUR/month on s:*",)}, 77, "k", None),
        ({"users": {"ann": ("9 tokens/day on s:m2",)}}, 150, None, "ann"),
        ({"models": {"s:m1": ("9 tokens/day",)}}, 15, None, None),
        ({"models": {"s:*": ("9 requests/day",)}}, 3, None, None),
    ],
)
async def test_what_counts(
    limits: dict[str, object], used: int, key: str | None, user: str | None
) -> None:
    """A limit begins with the requests of its key, user and models since its period began."""
    asked: list[Query] = []

    async def sums(query: Query) -> list[Figures]:
        asked.append(query)
        return GROUPS

    caller = Caller(id="k", user="ann")
    for model in ("s:m1", "s:m2"):
        for bound in bounds_of(LimitsConfig(**limits), caller, model):
            assert await History(sums).used_since(bound, BEGINS) == used
    assert {(query.key, query.user, query.since) for query in asked} == {
        (key, user, datetime.fromtimestamp(BEGINS, UTC))
    }


async def test_a_ledger_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """The budget begins with nothing, and the log says so."""

    async def sums(_: Query) -> list[Figures]:
        raise UnavailableError("the database does not answer")

    [bound] = bounds_of(LimitsConfig(keys=("9 requests/day",)), Caller(id="k"), "s:m1")
    assert await History(sums).used_since(bound, BEGINS) == 0
    assert "limit.begins_anew counter=key:k|requests/day|" in caplog.text


async def test_one_question_for_all_that_ask() -> None:
    """At midnight many requests of a key meet a new counter; the ledger is asked once."""
    asked = 0

    async def sums(_: Query) -> list[Figures]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return GROUPS

    history = History(sums)
    [bound] = bounds_of(LimitsConfig(keys=("9 requests/day",)), Caller(id="k"), "s:m1")
    assert await asyncio.gather(*(history.used_since(bound, BEGINS) for _ in range(9))) == [7] * 9
    assert asked == 1
    assert await history.used_since(bound, BEGINS) == 7
    assert asked == 2
