"""Models made of several, in `berlin serve` as processes: shared limits, caches, and a reload."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from support import warm
from support.cli import Cli
from support.fault_server import FaultServer
from support.fault_steps import Hang
from support.gateway import OPENAI
from support.routing import GOOD, WORDS, services
from support.serving import described, serving
from support.token_processes import redis_server

LIMITED = """
[models.smart]
use = "one:m1"
limit = {{ requests_per_minute = 5, wait_s = 0 }}
[models.kept]
use = "one:m1"
cache = {{}}
[shared]
redis = "{url}"
on_failure = "refuse"
"""


async def test_R09_two_gateways_and_one_redis(tmp_path: Path) -> None:
    """Two processes let five requests a minute through together, and answer from one cache."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(redis_server(tmp_path / "redis"))
        server = await stack.enter_async_context(FaultServer(GOOD))
        gateways = []
        for name in ("a", "b"):
            home = tmp_path / name
            home.mkdir()
            cli = Cli(home)
            cli.environ[warm.PATIENCE] = "10"
            text = described(cli, "one", server.url)
            cli.configure(text + LIMITED.format(url=redis.url))
            gateways.append((await stack.enter_async_context(serving(cli)))[1])
        answers = []
        for _ in range(8):
            answers += await asyncio.gather(*(at.ask(OPENAI, model="smart") for at in gateways))
        assert Counter(answer.status for answer in answers) == {200: 5, 429: 11}
        refused = next(answer for answer in answers if answer.status == 429)
        assert 0 < int(refused.headers["Retry-After"]) <= 60
        first = await gateways[0].ask(OPENAI, model="kept", stream=True)
        async with asyncio.timeout(30):  # it is kept in the background
            while (
                "Age"
                not in (second := await gateways[1].ask(OPENAI, model="kept", stream=True)).headers
            ):
                pass
        assert "Age" not in first.headers
        assert second.headers["x-berlin-attempts"] == "0"
        assert OPENAI.pieces(second.data) == OPENAI.pieces(first.data) == list(WORDS)
        await redis.stop()
        last = await gateways[0].ask(OPENAI, model="kept", prompt="Another one")
        assert last.status == 200


@pytest.mark.parametrize("name", ["smart", "smart:latest", "alias", "ALIAS", "smart "])
async def test_A18_a_limit_is_not_dodged_by_another_spelling(tmp_path: Path, name: str) -> None:
    """Whatever a client writes for a model, it is the same limit, or there is no such model."""
    model = 'use = "bad:m1"\nlimit = { requests_per_minute = 1, wait_s = 0 }\n'
    model += '[aliases]\nalias = "smart"'
    async with services(tmp_path, model, bad=[GOOD]) as one:
        assert (await one.at.ask(OPENAI, model="smart")).status == 200
        assert (await one.at.ask(OPENAI, model=name)).status in (404, 429)
        assert one.asked("bad") == 1


async def test_the_limit_of_a_provider_in_the_gateway(tmp_path: Path) -> None:
    """A model and the provider itself have one limit: that of the account."""
    more = "limit = { requests_per_minute = 2, wait_s = 0 }"
    async with services(tmp_path, 'use = "bad:m1"', more, bad=[GOOD]) as one:
        asked = [
            await one.at.ask(OPENAI, model=name) for name in ("smart", "bad:m1", "bad", "smart")
        ]
        assert [answer.status for answer in asked] == [200, 200, 429, 429]
        assert one.asked("bad") == 2


async def test_what_waits_for_a_limit_is_in_the_metrics(tmp_path: Path) -> None:
    """`berlin_waiting` counts the requests that wait for a limit of routing."""
    table = 'use = "slow:m1"\nlimit = { concurrent = 1 }'
    async with services(tmp_path, table, slow=[(Hang(),)]) as both:
        asked = [asyncio.create_task(both.at.ask(OPENAI, model="smart")) for _ in range(3)]
        async with asyncio.timeout(30):
            while True:
                page = (await both.at.get("/metrics")).data.decode()
                if 'berlin_waiting{provider="smart"} 2.0' in page:
                    break
                await asyncio.sleep(0.05)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
