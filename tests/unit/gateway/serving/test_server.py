"""The server as a block: where it listens, and how it ends with answers open."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator

import pytest

from berlin import Berlin, ChatRequest, Timeouts, errors
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.chat import Gateway
from berlin.gateway.serving.server import open_server
from berlin.providers.contract import Burst
from berlin.providers.scripted import ScriptedProvider
from berlin.types import Finished, Secret, TextDelta

QUICK = Timeouts(connect=10, first_event=20, idle=20, total=40)


def accounts() -> Accounts:
    """Return one account."""
    known = Accounts()
    known.add("alice", Secret("pw"))
    return known


class ClosingProvider(ScriptedProvider):
    """Notes down that it was closed."""

    gone = False

    async def aclose(self) -> None:
        """Close."""
        self.gone = True


async def test_provider_is_closed_at_the_end() -> None:
    """Leaving the block closes the provider, also when the address cannot be had."""
    provider = ClosingProvider()
    async with open_server(Gateway.of(provider), accounts()) as url:
        assert url.startswith("http://127.0.0.1:")
        assert not provider.gone
    assert provider.gone
    provider = ClosingProvider()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(errors.ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with open_server(Gateway.of(provider), accounts(), port=port):
                raise AssertionError("it listens twice")
    assert provider.gone


async def test_open_answer_may_end_within_the_grace() -> None:
    """The block ends when the last open answer has ended, not when the grace is over."""
    provider = ScriptedProvider(["first", 0.3, "last", Finished()])
    server = open_server(Gateway.of(provider), accounts(), grace_s=30)
    url = await server.__aenter__()
    async with Berlin(url, "alice", "pw", timeout=QUICK) as berlin:
        pieces = berlin.text("Hi")
        assert await anext(pieces) == "first"
        ending = asyncio.create_task(server.__aexit__(None, None, None))
        assert [piece async for piece in pieces] == ["last"]
        await ending
    assert provider.closed == 0


@pytest.mark.parametrize(
    "script", [["first", 30.0], [30.0]], ids=["in mid-stream", "before the first event"]
)
async def test_open_answer_ends_with_an_error_after_the_grace(script: list[str | float]) -> None:
    """After the grace open answers end with an error that says why, and so does the provider."""
    provider = ScriptedProvider(script)
    server = open_server(Gateway.of(provider), accounts(), grace_s=0.1)
    url = await server.__aenter__()
    async with Berlin(url, "alice", "pw", timeout=QUICK) as berlin:
        pieces = berlin.text("Hi")
        if "first" in script:
            assert await anext(pieces) == "first"
        rest = asyncio.ensure_future(anext(pieces))
        async with asyncio.timeout(30):
            while not provider.requests:
                await asyncio.sleep(0.005)
            await server.__aexit__(None, None, None)
        with pytest.raises(errors.BerlinError) as caught:
            await rest
    # Before the first event it is a 502, which is tried again: by then nobody listens.
    expected = errors.ServiceError if "first" in script else errors.ConnectError
    assert type(caught.value) is expected
    assert provider.closed == 1


class BurstProvider(ScriptedProvider):
    """Gives many events at once, and then fails."""

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Stream one burst."""
        yield [TextDelta(str(n)) for n in range(1000)]
        raise errors.ServiceUnavailableError("went down")


async def test_everything_before_an_error_arrives() -> None:
    """An error that follows at once does not swallow what came before it."""
    async with (
        open_server(Gateway.of(BurstProvider()), accounts(), grace_s=0) as url,
        Berlin(url, "alice", "pw", timeout=QUICK) as berlin,
    ):
        got = []
        with pytest.raises(errors.ServiceError, match="went down"):
            async for piece in berlin.text("Hi"):
                got.append(piece)
    assert got == [str(n) for n in range(1000)]


def ipv6_works() -> bool:
    """Tell whether this machine has an IPv6 loopback."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_ipv6_address_is_a_good_url() -> None:
    """On IPv6 the address stands in brackets; without IPv6 it is a clear error."""
    server = open_server(Gateway.of(ScriptedProvider()), accounts(), "::1")
    if not ipv6_works():
        with pytest.raises(errors.ConfigurationError, match="cannot listen on ::1:0"):
            await server.__aenter__()
        return
    async with server as url, Berlin(url, "alice", "pw", timeout=QUICK) as berlin:
        assert url.startswith("http://[::1]:")
        assert (await berlin.ask("Hi")).text == "Hello"
