"""`berlin serve --workers 2`: one gateway, whichever process answers."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from support.chat_service import ChatService
from support.cli import Cli, reader
from support.gateway_process import ask, rest_of
from support.serving import house

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forks")

_COUNT = re.compile(rb"^berlin_requests_total\{.*\} (\S+)$", re.MULTILINE)


@asynccontextmanager
async def _fresh() -> AsyncIterator[aiohttp.ClientSession]:
    """A client with a new connection for each request, so that all workers get some."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


async def _page(session: aiohttp.ClientSession, url: str) -> tuple[int, bytes]:
    async with session.get(url) as answer:
        return answer.status, await answer.read()


async def _counted(session: aiohttp.ClientSession, url: str) -> float:
    """Return the number of requests that a scrape shows."""
    _, page = await _page(session, url + "/metrics")
    return sum(float(value) for value in _COUNT.findall(page))


async def _counts_up_to(session: aiohttp.ClientSession, url: str, count: int) -> list[float]:
    """Scrape whichever workers until a number is shown; return all numbers seen.

    A request is counted just after its answer.
    """
    seen: list[float] = []
    async with asyncio.timeout(30):
        while seen[-4:] != [count] * 4:
            seen.append(await _counted(session, url))
    return seen


def _workers(parent: int) -> set[int]:
    """Return the process ids of the workers."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return set(map(int, children.split()))


async def _until(process: asyncio.subprocess.Process, words: str) -> str:
    """Read stderr up to the line with some words."""
    async with asyncio.timeout(30):
        while words not in (line := (await reader(process.stderr).readline()).decode()):
            assert line, f"it ended before it said {words!r}"
    return line


async def test_life_of_two_workers(tmp_path: Path) -> None:
    """A killed worker is replaced and its counts stay; a reload is for all; the end is clean."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    cli = Cli(tmp_path).configure("[server]\nworkers = 2\n")
    cli.environ |= {"TMPDIR": str(temporary)}
    go_on = asyncio.Event()
    chats = ChatService(["first", go_on, "last"])
    async with chats as slow, cli.serve() as (process, url), _fresh() as session:
        for _ in range(12):
            assert (await ask(session, url, model="guide"))[0] == 200
        seen = [await _counts_up_to(session, url, 12)]
        before = _workers(process.pid)
        assert len(before) == 2
        os.kill(min(before), signal.SIGKILL)
        assert "SIGKILL" in await _until(process, "worker.ended")
        for _ in range(12):
            assert (await ask(session, url, model="guide"))[0] == 200
        seen.append(await _counts_up_to(session, url, 24))
        assert seen == [sorted(each) for each in seen], "a counter went backwards"
        assert len(_workers(process.pid) & before) == 1
        _, page = await _page(session, url + "/metrics")
        assert b"berlin_worker_restarts_total 1.0" in page
        fresh = "[server]\nworkers = 2\n[aliases]\nfresh = 'guide'\n"
        cli.configure(fresh + house(slow.url, "models = ['m1']\nmodel = 'm1'"))
        await _until(process, "config.loaded workers=2")
        answers = [(await ask(session, url, model="fresh"))[0] for _ in range(8)]
        assert set(answers) == {200}  # whichever worker is asked
        cli.configure("[server\n")
        process.send_signal(signal.SIGHUP)
        await _until(process, "config.kept")
        assert (await ask(session, url, model="fresh"))[0] == 200
        last = asyncio.create_task(ask(session, url, model="house:m1"))
        await slow.seen(chats=1)
        process.terminate()
        while len(_workers(process.pid)) == 2:
            await asyncio.sleep(0.01)
        # The worker that still answers refuses; no connection waits for the one that has ended.
        for _ in range(8):
            assert (await ask(session, url, model="guide"))[0] == 503
        go_on.set()
        assert (await last)[0] == 200
        assert await rest_of(process) == (0, "berlin: stopping\n")
    assert list(temporary.iterdir()) == []


async def test_g29_rolling_restart_under_load(tmp_path: Path) -> None:
    """SIGUSR2 replaces the program and each worker while clients ask; no request fails."""
    cli = Cli(tmp_path)
    async with cli.serve("--workers", "2") as (process, url):
        before, failed, done = _workers(process.pid), [], asyncio.Event()

        async def keep_asking(session: aiohttp.ClientSession) -> int:
            count = 0
            while not done.is_set():
                status, _ = await ask(session, url, model="guide")
                await asyncio.sleep(0.01)
                count += 1
                if status != 200:
                    failed.append(status)
            return count

        async with aiohttp.ClientSession() as kept, _fresh() as fresh:
            load = asyncio.gather(*(keep_asking(session) for session in (kept, kept, fresh, fresh)))
            process.send_signal(signal.SIGUSR2)
            await _until(process, "restart.began")
            await _until(process, "serving on")
            async with asyncio.timeout(30):
                while _workers(process.pid) & before:
                    await asyncio.sleep(0.05)
            done.set()
            counts = await load
        assert failed == []
        assert min(counts) > 0
        assert len(_workers(process.pid)) == 2
        process.terminate()
        assert (await rest_of(process))[0] == 0


async def test_a_second_gateway_on_the_port(tmp_path: Path) -> None:
    """A gateway with workers does not join the port of another; it says so in one line."""
    cli = Cli(tmp_path)
    async with cli.serve("--workers", "2") as (process, url):
        port = url.rpartition(":")[2]
        refused = await cli.run("serve", "--workers", "2", "--port", port)
        assert (refused.code, refused.out) == (2, "")
        assert f"cannot listen on 127.0.0.1:{port}" in refused.err
        assert refused.err.count("\n") == 1
        process.kill()  # and workers do not outlive their parent
        async with asyncio.timeout(30):
            await process.communicate()
        async with asyncio.timeout(30), _fresh() as session:
            while True:
                try:
                    await _page(session, url + "/healthz")
                except aiohttp.ClientConnectorError:
                    break


async def test_a_start_that_fails(tmp_path: Path) -> None:
    """What is wrong is said once, and the exit code is that of one process."""
    cli = Cli(tmp_path).configure("[server]\naccess_log = '/nowhere/at/all.log'\n")
    refused = await cli.run("serve", "--port", "0", "--workers", "2")
    assert (refused.code, refused.out) == (2, "")
    assert "/nowhere/at/all.log" in refused.err
    assert refused.err.count("\n") == 1
