"""Budgets and limits, by real sockets: a gateway built from a configuration."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from berlin.config.tables.limits import LimitsConfig
from berlin.config.tables.prices import Price
from berlin.errors import ServiceError, ServiceUnavailableError
from berlin.gateway.access.guard import Guard
from berlin.gateway.access.key_reader import KeyReader
from berlin.gateway.access.limits.limiter import Limiter
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.providers.scripted import ScriptedProvider
from berlin.routing.counters.shared import SharedCounters
from berlin.routing.counters.sqlite import SqliteCounters
from berlin.types import Finished, Usage, UsageReport
from berlin.types.embeddings import EmbeddingRequest, Embeddings
from support.clock import Clock
from support.gateway import ANTHROPIC, OPENAI, At, make_key, serve

# One answer costs 1.5 USD.
ANSWER = ["Hi", UsageReport(Usage(500_000, 500_000)), Finished()]
# In the middle of a day and a month, whenever the tests run.
NOON = datetime(2026, 6, 15, 12, tzinfo=UTC).timestamp()
PRICES = {"s:*": Price(input=Decimal(1), output=Decimal(2))}


@asynccontextmanager
async def limited(
    tmp_path: Path, script: list[object] = ANSWER, **limits: object
) -> AsyncIterator[At]:
    """Serve one provider to keys, with limits, and counters in a file."""
    file = SqliteCounters(tmp_path / "limits.sqlite", wall=Clock(NOON))
    counters = SharedCounters(file, only_lasting=True)
    gateway = Gateway(
        Catalog([Service("s", ScriptedProvider(script), ["m1", "m2"])]),
        Guard(KeyReader(tmp_path / "keys.sqlite")),
        limiter=Limiter(LimitsConfig(**limits), PRICES, counters),
    )
    async with serve(gateway=gateway) as at:
        yield at


def key(tmp_path: Path, name: str = "k", *limits: str, **options: object) -> str:
    """Add a key."""
    return make_key(tmp_path / "keys.sqlite", name, limits=limits, **options)


async def test_a15_a_budget_of_money(tmp_path: Path) -> None:
    """Of many requests at the end of a budget one passes; the rest are told when it resets."""
    shown, other = (key(tmp_path, name, "4 USD/month") for name in ("k", "other"))
    async with limited(tmp_path) as at:
        first = await at.ask(OPENAI, key=shown)
        assert first.status == 200
        assert first.headers["x-berlin-budget-limit"] == "4.00"
        second = await at.ask(OPENAI, key=shown, stream=True)
        assert second.status == 200
        # 3 USD are used, and one answer costs 1.5.
        answers = await asyncio.gather(*(at.ask(OPENAI, key=shown) for _ in range(8)))
        assert sorted(answer.status for answer in answers) == [200] + [429] * 7
        last = await at.ask(OPENAI, key=shown)
        assert (last.status, last.json["error"]["code"]) == (429, "insufficient_quota")
        assert "4 USD/month of this key is reached" in last.message
        assert "It resets at 20" in last.message
        assert last.headers["x-should-retry"] == "false"
        assert int(last.headers["Retry-After"]) > 60
        assert last.headers["x-berlin-budget-remaining"] == "0.00"
        assert (await at.ask(OPENAI, key=other)).status == 200  # it has a budget of its own
    async with limited(tmp_path) as at:  # a restart changes nothing
        assert (await at.ask(OPENAI, key=shown)).status == 429


async def test_tokens_and_their_headers(tmp_path: Path) -> None:
    """A token limit counts what services report; the headers are those of each vendor."""
    script = ["Hi", UsageReport(Usage(10, 20)), Finished()]
    shown = key(tmp_path, "k", "100 tokens/minute", "50 requests/minute")
    async with limited(tmp_path, script) as at:
        told = [await at.ask(OPENAI, key=shown, max_tokens=20) for _ in range(4)]
        assert [answer.status for answer in told] == [200] * 4
        assert told[0].headers["x-ratelimit-limit-tokens"] == "100"
        assert told[0].headers["x-ratelimit-remaining-requests"] == "49"
        assert ["x-berlin-limit-warning" in one.headers for one in told] == [False] * 3 + [True]
        refused = await at.ask(OPENAI, key=shown)
        assert refused.status == 429
        assert refused.json["error"]["code"] == "rate_limit_exceeded"
        assert refused.headers["x-ratelimit-remaining-tokens"] == "0"
        assert "x-should-retry" not in refused.headers
        theirs = await at.ask(ANTHROPIC, key=shown)
        assert theirs.status == 429
        assert theirs.headers["anthropic-ratelimit-tokens-limit"] == "100"
        assert theirs.headers["anthropic-ratelimit-tokens-reset"].endswith("Z")


async def test_two_limits_that_count_the_same(tmp_path: Path) -> None:
    """A request counts once for limits of the key and of all keys; the smaller one refuses."""
    shown = key(tmp_path, "k", "9 requests/day", "3 requests/minute", requests_per_minute=5)
    async with limited(tmp_path, keys=("4 requests/day", "50 requests/minute")) as at:
        told = [await at.ask(OPENAI, key=shown) for _ in range(4)]
        assert [answer.status for answer in told] == [200] * 3 + [429]
        assert told[0].headers["x-ratelimit-remaining-requests"] == "2"
        assert "3 requests/minute" in told[3].message


async def test_a_budget_held_by_a_running_request(tmp_path: Path) -> None:
    """While the first request has reserved a whole small budget, others are asked to come back."""
    shown = key(tmp_path, "k", "100 tokens/day")
    go_on = asyncio.Event()
    script: list[object] = ["Hi", go_on.wait, UsageReport(Usage(10, 20)), Finished()]
    async with limited(tmp_path, script) as at:
        asked = [asyncio.create_task(at.ask(OPENAI, key=shown)) for _ in range(3)]
        while sum(one.done() for one in asked) < 2:
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED, timeout=0.05)
        go_on.set()
        told = await asyncio.gather(*asked)
        assert sorted(answer.status for answer in told) == [200, 429, 429]
        refused = next(answer for answer in told if answer.status == 429)
        assert refused.json["error"]["code"] == "rate_limit_exceeded"
        assert refused.headers["Retry-After"] == "2"
        assert "x-berlin-limit-warning" not in refused.headers
        assert (await at.ask(OPENAI, key=shown)).status == 200


class _Embedder:
    """Embeds without a report of tokens; an input `fail` fails, and `wait` is left."""

    models = ("e",)
    default = "e"

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        if request.inputs[0] == "fail":
            raise ServiceUnavailableError("down")
        if request.inputs[0] == "wait":
            self.asked.set()
            await asyncio.sleep(60)
        return Embeddings((bytes(4),))


async def test_embeddings_are_counted_like_chats(tmp_path: Path) -> None:
    """Without a report their tokens are estimated, also if the client leaves; a failed one counts
    as a request."""
    shown = key(tmp_path, "k", "100 tokens/day", "50 requests/day")
    embedder = _Embedder()
    service = Service("s", ScriptedProvider(ANSWER), ["m1"], embedder=cast(Any, embedder))
    gateway = Gateway(
        Catalog([service]), Guard(KeyReader(tmp_path / "keys.sqlite")), limiter=Limiter()
    )
    async with serve(gateway=gateway) as at:

        async def left(text: str) -> tuple[int, int]:
            sent = at.session.post(
                f"{at.url}/v1/embeddings",
                json={"model": "s:e", "input": text},
                headers={"Authorization": f"Bearer {shown}"},
            )
            async with sent as got:
                names = ("requests", "tokens")
                return tuple(int(got.headers[f"x-ratelimit-remaining-{n}"]) for n in names)

        assert await left("a" * 40) == (49, 90)
        with contextlib.suppress(KeyError):  # an error has no such headers
            await left("fail")
        leaving = asyncio.create_task(left("wait"))
        await embedder.asked.wait()
        leaving.cancel()
        while service.admission.inside:
            await asyncio.sleep(0.01)
        assert await left("b" * 4) == (46, 88)


async def test_users_and_models(tmp_path: Path) -> None:
    """The keys of one person share a limit, and all clients share that of a model."""
    ann = [key(tmp_path, name, user="ann") for name in ("ann1", "ann2")]
    bob, carl = (key(tmp_path, name, user=name) for name in ("bob", "carl"))
    limits = {"users": {"*": ("2 requests/day",)}, "models": {"s:m2": ("1 requests/hour",)}}
    async with limited(tmp_path, **limits) as at:
        statuses = [(await at.ask(OPENAI, key=one)).status for one in (*ann, *ann, bob)]
        assert statuses == [200, 200, 429, 429, 200]
        assert (await at.ask(OPENAI, model="s:m2", key=bob)).status == 200
        assert (await at.ask(OPENAI, model="s:m2", key=carl)).status == 429


async def test_what_was_not_sent_does_not_count(tmp_path: Path) -> None:
    """A service that fails costs a request but no tokens; a queue that is full costs nothing."""
    shown = key(tmp_path, "k", "100 tokens/minute", "3 requests/minute")
    async with limited(tmp_path, [ServiceError("no")]) as at:
        for _ in range(3):
            told = await at.ask(OPENAI, key=shown)
            assert told.status >= 500
        assert told.headers["x-ratelimit-remaining-requests"] == "0"
        refused = await at.ask(OPENAI, key=shown)
        assert (refused.status, "requests/minute" in refused.message) == (429, True)


async def test_money_without_a_price(tmp_path: Path) -> None:
    """A limit of money is never without effect: a model without a price is refused."""
    shown = key(tmp_path, "k", "4 USD/month")
    async with limited(tmp_path) as at:
        at.gateway.limiter.use(LimitsConfig(), {})
        told = await at.ask(OPENAI, key=shown)
        assert (told.status, told.json["error"]["code"]) == (503, "configuration_error")


async def test_scopes(tmp_path: Path) -> None:
    """A key that may only list models gets no answers, and the other way round."""
    lists = key(tmp_path, "lists", scopes=["models"])
    chats = key(tmp_path, "chats", scopes=["chat"])
    async with limited(tmp_path) as at:
        assert (await at.ask(OPENAI, key=lists)).status == 403
        assert (await at.ask(ANTHROPIC, key=lists)).status == 403
        assert (await at.ask(OPENAI, key=chats)).status == 200
        for shown, status in ((lists, 200), (chats, 403)):
            assert (await at.get("/v1/models", Authorization=f"Bearer {shown}")).status == status


async def test_no_limits_cost_nothing(tmp_path: Path) -> None:
    """Without limits nothing is counted, no file is made, and no header is sent."""
    shown = key(tmp_path)
    async with limited(tmp_path) as at:
        told = await at.ask(OPENAI, key=shown)
        assert told.status == 200
        assert not any("ratelimit" in name.lower() for name in told.headers)
    assert not (tmp_path / "limits.sqlite").exists()
