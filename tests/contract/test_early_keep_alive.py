"""Keep-alives before the first event, for clients that give up on a silent connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

import pytest

from berlin import errors
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.gateway.streaming import OpenStreams
from berlin.providers.contract import Burst
from berlin.types import ChatRequest, Finished, TextDelta
from support.gateway import ANTHROPIC, OLLAMA, OPENAI, RESPONSES, Dialect, serve

DIALECTS = (OPENAI, ANTHROPIC, RESPONSES, OLLAMA)


class Slow:
    """Answers when the client has heard something."""

    def __init__(self, failure: errors.BerlinError | None = None) -> None:
        self.heard = asyncio.Event()
        self.failure = failure

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Answer."""
        await self.heard.wait()
        if self.failure is not None:
            raise self.failure
        yield [TextDelta("Hello"), Finished()]

    async def aclose(self) -> None:
        """Do nothing."""


def gateway(provider: Slow, *, early: bool = True) -> Gateway:
    """Return a gateway that sends a keep-alive after a moment."""
    streams = OpenStreams(0.01, early=early)
    return Gateway(Catalog([Service("s", provider, ["m1"])]), streams=streams)


async def ask(dialect: Dialect, provider: Slow) -> tuple[int, bytes, bytes]:
    """Return the status, what came before the provider answered, and the rest."""
    async with serve(gateway=gateway(provider)) as at:
        body = json.dumps(dialect.body("Hi", "s:m1", True))
        headers = {"Content-Type": "application/json"}
        async with at.session.post(at.url + dialect.path, data=body, headers=headers) as answer:
            early = await answer.content.readany()
            provider.heard.set()
            return answer.status, early, await answer.read()


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_a_client_that_waits_is_kept(dialect: Dialect) -> None:
    """The status and something without content come first, then the whole answer."""
    status, early, rest = await ask(dialect, Slow())
    assert status == 200
    assert early
    assert dialect.pieces(early) == []
    assert "".join(dialect.pieces(early + rest)) == "Hello"
    assert dialect.is_whole(rest)


async def test_a_later_failure_is_an_error_in_the_stream() -> None:
    """The status was sent: this is the price of the switch."""
    failure = errors.ServiceUnavailableError("the service is down")
    status, _, rest = await ask(OPENAI, Slow(failure))
    assert status == 200
    assert "the service is down" in OPENAI.error_in(rest)
    assert not OPENAI.is_whole(rest)


async def test_without_the_switch_a_failure_is_a_status() -> None:
    """The connection stays silent until the first event, however long it takes."""
    slow = Slow(errors.ServiceUnavailableError("the service is down"))
    async with serve(gateway=gateway(slow, early=False)) as at:
        asyncio.get_running_loop().call_later(0.05, slow.heard.set)
        answer = await at.ask(OPENAI, stream=True)
    assert answer.status == 502
    assert "the service is down" in answer.message
