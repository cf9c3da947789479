"""Faults of Redis, as far as tokens are concerned: it is gone, slow, full, or says no.

With `on_failure = "login"` each process logs in by itself; with `"error"` there is no new token.
No request waits for Redis much longer than a second, whatever happens to it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from berlin import Berlin, errors
from support.ports import free_port
from support.redis_tokens import process_like, store_of
from support.token_processes import Redis, redis_server
from support.token_service import TokenService

LONGEST_S = 2.0
# A store that failed is left alone for up to three seconds.
REST_S = 3.2


@pytest.fixture
async def redis(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    """A Redis of its own."""
    patience_s = None if "R04" in request.node.name or "hangs" in request.node.name else 5.0
    async with redis_server(tmp_path / "redis", patience_s) as server:
        yield server


async def ask(berlin: Berlin) -> None:
    """Send a request that has to be answered, and soon."""
    assert (await berlin.ask("ann")).text == "ann"


async def is_refused(berlin: Berlin, said: str) -> None:
    """Send a request that has to end for want of the store, and soon."""
    with pytest.raises(errors.TokenStoreError) as caught:
        await berlin.ask("ann")
    assert said in caught.value.message
    assert 'tokens.on_failure = "login"' in caught.value.message
    assert caught.value.http_status == 503


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage().split()[0] for r in caplog.records if r.levelno >= logging.WARNING]


@asynccontextmanager
async def answers_always(data: bytes) -> AsyncIterator[str]:
    """Run what answers each command of a Redis client with the same bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line.startswith(b"*"):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    finally:
        server.close()


def nobody() -> str:
    """Return the URL of a Redis that is not there."""
    return f"redis://127.0.0.1:{free_port()}/0"


async def test_R01_down_at_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without Redis a process logs in by itself, once, with one warning."""
    async with TokenService() as service, process_like(tmp_path, service, nobody()) as berlin:
        for _ in range(3):
            await ask(berlin)
        assert len(service.logins) == 1
    assert told(caplog) == ["tokens.store_failed"]


async def test_R01_down_at_start_fail_closed(tmp_path: Path) -> None:
    """Where logins without the store are forbidden, there is none."""
    async with (
        TokenService() as service,
        process_like(tmp_path, service, nobody(), on_failure="error") as berlin,
    ):
        for said in ("Connection refused", "it failed a moment ago"):
            await is_refused(berlin, said)
        assert (service.logins, service.chats) == ([], 0)


async def test_R02_dies_in_mid_run(redis: Redis, tmp_path: Path) -> None:
    """When Redis dies, requests go on; when it is back, tokens are shared again."""
    async with (
        TokenService() as service,
        process_like(tmp_path, service, redis.url) as one,
        process_like(tmp_path, service, redis.url) as two,
    ):
        await ask(one)
        await ask(two)
        assert len(service.logins) == 1
        await redis.stop()
        await ask(one)
        service.expire_all()
        await ask(one)
        await ask(two)
        assert len(service.logins) == 3
        await redis.start()
        await asyncio.sleep(REST_S)
        service.expire_all()
        await ask(one)
        await ask(two)
        assert len(service.logins) == 4


async def test_R02_dies_in_mid_run_fail_closed(redis: Redis, tmp_path: Path) -> None:
    """A good token goes on without Redis; a new one is not to be had until it is back."""
    async with (
        TokenService() as service,
        process_like(tmp_path, service, redis.url, on_failure="error") as berlin,
    ):
        await ask(berlin)
        await redis.stop()
        await ask(berlin)
        service.expire_all()
        await is_refused(berlin, "Redis")
        await redis.start()
        await asyncio.sleep(REST_S)
        await ask(berlin)
        assert len(service.logins) == 2


async def test_R03_read_only_after_a_fail_over(redis: Redis, tmp_path: Path) -> None:
    """A Redis that has become a replica is none to write to; as a primary it is used again."""
    async with (
        TokenService() as service,
        process_like(tmp_path, service, redis.url) as one,
        process_like(tmp_path, service, redis.url) as two,
    ):
        await redis.command("REPLICAOF", "127.0.0.1", "1")
        await ask(one)
        await ask(two)
        assert len(service.logins) == 2
        await redis.command("REPLICAOF", "NO", "ONE")
        await asyncio.sleep(REST_S)
        service.expire_all()
        await ask(one)
        await ask(two)
        assert len(service.logins) == 3


async def test_R04_late(redis: Redis, tmp_path: Path) -> None:
    """A Redis that answers after half a minute is not waited for."""
    async with (
        TokenService() as service,
        process_like(tmp_path, service, redis.url) as berlin,
        process_like(tmp_path, service, redis.url, on_failure="error") as strict,
    ):
        await redis.command("CLIENT", "PAUSE", "30000", "ALL")
        await ask(berlin)
        await is_refused(strict, "Timeout")
        assert len(service.logins) == 1


async def hangs(redis: Redis) -> None:
    redis.pause()


async def is_full(redis: Redis) -> None:
    await redis.command("CONFIG", "SET", "maxmemory", "1")


async def wants_a_password(redis: Redis) -> None:
    await redis.command("CONFIG", "SET", "requirepass", "sesame")


async def is_a_replica(redis: Redis) -> None:
    await redis.command("REPLICAOF", "127.0.0.1", "1")


@pytest.mark.parametrize(
    ("becomes", "said"),
    [
        pytest.param(is_full, "OutOfMemoryError", id="R05_oom"),
        pytest.param(wants_a_password, "AuthenticationError", id="R05_noauth"),
        pytest.param(is_a_replica, "You can't write against a read only replica", id="R03"),
        pytest.param(hangs, "Timeout", id="R13_hangs"),
    ],
)
async def test_refusing_redis(
    becomes: Callable[[Redis], Awaitable[None]],
    said: str,
    redis: Redis,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What Redis refuses is told in its words, once; each process then logs in, or must not."""
    await becomes(redis)
    async with (
        TokenService() as service,
        process_like(tmp_path, service, redis.url) as berlin,
        process_like(tmp_path, service, redis.url, on_failure="error") as strict,
    ):
        await ask(berlin)
        await ask(berlin)
        assert told(caplog) == ["tokens.store_failed"]
        assert said in caplog.text
        await is_refused(strict, said)
        assert len(service.logins) == 1


async def test_R05_wrong_password(
    redis: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong password for Redis is told, without the password."""
    await wants_a_password(redis)
    url = redis.url.replace("//", "//:open-barley@")
    async with (
        TokenService() as service,
        process_like(tmp_path, service, url) as berlin,
        process_like(tmp_path, service, url, on_failure="error") as strict,
    ):
        await ask(berlin)
        await is_refused(strict, "invalid username-password pair")
        assert len(service.logins) == 1
        assert "open-barley" not in f"{caplog.text} {vars(strict)} {strict!r}"


async def test_R05_right_password(redis: Redis, tmp_path: Path) -> None:
    """The password in the URL opens Redis."""
    await wants_a_password(redis)
    url = redis.url.replace("//", "//:sesame@")
    async with TokenService() as service:
        for _ in range(2):
            async with process_like(tmp_path, service, url, on_failure="error") as berlin:
                await ask(berlin)
        assert len(service.logins) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "loading the dataset"),
        (b"-CLUSTERDOWN The cluster is down\r\n", "The cluster is down"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "Protocol Error"),
    ],
)
async def test_R05_other_answers(
    answer: bytes, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What still loads, is down, or is no Redis at all is treated like one that is gone."""
    async with (
        answers_always(answer) as url,
        TokenService() as service,
        process_like(tmp_path, service, url) as berlin,
        process_like(tmp_path, service, url, on_failure="error") as strict,
    ):
        await ask(berlin)
        assert said in caplog.text
        await is_refused(strict, said)
        assert len(service.logins) == 1


async def test_R17_back_under_load(redis: Redis, tmp_path: Path) -> None:
    """When Redis comes back under load there is one login again, and few connections."""
    async with TokenService(login_takes=0.1) as service, AsyncExitStack() as stack:
        opened = [process_like(tmp_path, service, redis.url) for _ in range(6)]
        replicas = [await stack.enter_async_context(one) for one in opened]
        await redis.stop()
        await asyncio.gather(*(r.ask("ann") for r in replicas for _ in range(20)))
        assert len(service.logins) == 6
        await redis.start()
        await asyncio.sleep(REST_S)
        service.expire_all()
        await asyncio.gather(*(r.ask("ann") for r in replicas for _ in range(20)))
        assert len(service.logins) == 7
        clients = await redis.command("CLIENT", "LIST")
        assert clients.count(b" addr=") <= 2 * 6 + 1


@pytest.mark.parametrize("becomes", [hangs, is_full, wants_a_password])
async def test_store_that_is_to_be_listed(
    becomes: Callable[[Redis], Awaitable[None]], redis: Redis
) -> None:
    """Listing ends soon with an `OSError`, or works where Redis still reads."""
    store = store_of(redis.url)
    await becomes(redis)
    if becomes is is_full:
        assert store.entries() == []
    else:
        with pytest.raises(OSError, match=r"^Redis: (TimeoutError|AuthenticationError)"):
            store.entries()
