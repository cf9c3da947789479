"""What a budget begins with, from the figures of the ledger."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from berlin.config.tables.limits import LimitsConfig
from berlin.errors import UnavailableError
from berlin.gateway.access.caller import Caller
from berlin.gateway.access.limits.bounds import bounds_of
from berlin.gateway.access.limits.history import used_since
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
        for bound in bounds_of(LimitsConfig(**limits), caller, model):  # type: ignore[arg-type]
            assert await used_since(sums, bound, BEGINS) == used
    assert {(query.key, query.user, query.since) for query in asked} == {
        (key, user, datetime.fromtimestamp(BEGINS, UTC))
    }


async def test_a_ledger_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """The budget begins with nothing, and the log says so."""

    async def sums(_: Query) -> list[Figures]:
        raise UnavailableError("the database does not answer")

    [bound] = bounds_of(LimitsConfig(keys=("9 requests/day",)), Caller(id="k"), "s:m1")
    assert await used_since(sums, bound, BEGINS) == 0
    assert "limit.begins_anew counter=key:k|requests/day|" in caplog.text
