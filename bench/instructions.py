"""Counts the instructions of a fixed load, and compares them with what was committed.

Instructions do not depend on what else the machine does, so unlike a time they can be a test. What
is compared is a ratio to bare aiohttp, which reads the same answers: it hardly depends on the
machine either. A described stream is compared with the same stream and a decoder written by hand.

    python bench/instructions.py [--write]        --write takes the present figures as the baseline
    python bench/instructions.py --work NAME      does the work itself (under valgrind)
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import uvloop

sys.path.insert(0, str(Path(__file__).parent))
from by_hand import Stream
from load import Client, check
from pieces import text
from service import Service

from berlin import Berlin
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.chat import Gateway
from berlin.gateway.serving.server import open_server

BASELINE = Path(__file__).with_name("baseline.json")
MAY_GROW = 1.15
PIECES = 64
WARM_UP, TIMES = 5, 40
WORKS = ("bare", "text", "gateway")
# Of a described stream to a decoder written by hand.
MAY_COST = 1.10
READS = ("one read", "64 reads")
DESCRIBED = tuple(f"{what}, {reads}" for reads in READS for what in ("described", "by hand"))
LOAD = f"burst/{PIECES}"
CHAT = "/v1/chat/completions"


def main(arguments: list[str]) -> int:
    """Return the exit code: 1 if something costs more than it may."""
    if arguments[:1] == ["--work"]:
        uvloop.run(_work(arguments[1]))
        return 0
    with ThreadPoolExecutor(2) as pool:
        nothing, *counts = pool.map(_count, ("nothing", *WORKS, *DESCRIBED))
    bare, *costs = (count - nothing for count in counts)
    ours, streams = costs[: len(WORKS) - 1], costs[len(WORKS) - 1 :]
    ratios = {name: round(cost / bare, 3) for name, cost in zip(WORKS[1:], ours, strict=True)}
    if "--write" in arguments:
        BASELINE.write_text(json.dumps(ratios, indent=2) + "\n")
    baseline = json.loads(BASELINE.read_text())
    failed = 0
    print(f"instructions for an answer of {PIECES} pieces; bare aiohttp: {bare // TIMES:,}")
    for name, ratio in ratios.items():
        grown = ratio / baseline[name]
        failed += grown > MAY_GROW
        word = "too much" if grown > MAY_GROW else "ok"
        print(f"{name:8} {ratio:.2f} of bare, committed {baseline[name]:.2f}: {grown:.2f}, {word}")
    for reads, described, by_hand in zip(READS, streams[::2], streams[1::2], strict=True):
        ratio = described / by_hand
        failed += ratio > MAY_COST
        word = "too much" if ratio > MAY_COST else "ok"
        print(f"described, {reads}: {ratio:.2f} of by hand, {word}")
    return 1 if failed else 0


def _count(work: str) -> int:
    """Return how many instructions a process runs that does some work."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = subprocess.run(
        [*command, sys.executable, __file__, "--work", work],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if found is None:
        raise SystemExit(f"valgrind tells no count: {done.stderr[-500:]}")
    return int(found[1])


async def _work(wanted: str) -> None:
    """Do everything a few times, and what is wanted many times."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Service, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/{LOAD}"
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        berlin = await stack.enter_async_context(Berlin(url, "bench", "bench"))
        opened = open_server(Gateway.of(berlin), Accounts(), grace_s=0)
        port = int((await stack.enter_async_context(opened)).rpartition(":")[2])
        transport, client = await loop.create_connection(Client, "127.0.0.1", port)
        body = b'{"model":"default","stream":true,"messages":[{"role":"user","content":"x"}]}'
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

        async def bare() -> None:
            async with session.post(f"{url}/api/chat/completions", json={"prompt": "x"}) as answer:
                size = 0
                async for data in answer.content.iter_any():
                    size += len(data)
                assert size > len(text(PIECES)), size

        async def pieces() -> None:
            assert "".join([piece async for piece in berlin.text("x")]) == text(PIECES)

        async def gateway() -> None:
            check(await client.ask(request), text(PIECES))

        works: dict[str, Callable[[], Awaitable[None]]] = {
            "bare": bare,
            "text": pieces,
            "gateway": gateway,
            **{
                name: Stream(PIECES, in_one_read="one read" in name, by_hand="by hand" in name).read
                for name in DESCRIBED
            },
        }
        for work in works.values():
            for _ in range(WARM_UP):
                await work()
        for _ in range(TIMES if wanted in works else 0):
            await works[wanted]()
        transport.close()
    server.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
