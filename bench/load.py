"""The clients of the gateways: connections without a library, so that they cost next to nothing.

Commands come as lines of JSON on stdin, results go out as lines of JSON. The text of every answer
is checked. `python bench/load.py`
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).parent))
from pieces import text

END = b"\r\n0\r\n\r\n"
CONTENT = re.compile(rb'"content": ?"((?:[^"\\]|\\.)*)"')
# More than this and nothing comes any more.
PATIENCE_S = 60.0
# So many connections may wait for their first byte; more than a gateway's backlog would be reset.
STARTING = 500


def dechunk(body: bytes) -> bytes:
    """Return what the chunks of a body hold. Raises ValueError."""
    parts, at = [], 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end].partition(b";")[0], 16)
        if not size:
            return b"".join(parts)
        parts.append(body[end + 2 : end + 2 + size])
        at = end + 4 + size


class Client(asyncio.Protocol):
    """One kept connection, which asks one thing after another."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[bytes] | None = None
        self.parts: list[bytes] = []
        self.asked_at = 0.0
        self.first_at = 0.0
        self.arrivals: list[float] | None = None
        self.on_first: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(
                ConnectionError(f"closed behind {b''.join(self.parts)[:300]!r}")
            )

    def data_received(self, data: bytes) -> None:
        if self.on_first is not None:
            self.on_first()
            self.on_first = None
        # The first event is what counts, not the head that may come before it.
        if not self.first_at and b'"w0 ' in data:
            self.first_at = time.perf_counter()
        if self.arrivals is not None:
            self.arrivals += [time.perf_counter()] * len(CONTENT.findall(data))
        self.parts.append(data)
        if data.endswith(END) or (len(data) < len(END) and b"".join(self.parts[-8:]).endswith(END)):
            assert self.answer is not None
            self.answer.set_result(b"".join(self.parts))

    async def ask(self, request: bytes) -> bytes:
        """Send a request, and return the whole answer, its head too."""
        assert self.transport is not None
        self.answer = asyncio.get_running_loop().create_future()
        self.parts, self.first_at = [], 0.0
        self.asked_at = time.perf_counter()
        self.transport.write(request)
        return await self.answer


def check(answer: bytes, expected: str) -> None:
    """Raise SystemExit unless this is the right answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    got = b"".join(CONTENT.findall(dechunk(body))).decode() if b" 200 " in head[:16] else ""
    if got != expected or b"[DONE]" not in body:
        raise SystemExit(f"a wrong answer: {answer[:600]!r}")


async def ask_many(command: dict[str, Any]) -> dict[str, Any]:
    """Ask so many times over so many connections."""
    loop = asyncio.get_running_loop()
    body = json.dumps(command["body"]).encode()
    headers = {
        "Host": f"127.0.0.1:{command['port']}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **command.get("headers", {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST {command['path']} HTTP/1.1\r\n{head}\r\n".encode() + body
    expected = text(command["pieces"])
    left = iter(range(command["streams"]))
    pause, interval = command.get("pause_s", 0.0), command.get("interval_s")
    firsts: list[float] = []
    seconds: list[float] = []
    late: list[float] = []

    starting = asyncio.Semaphore(STARTING)

    async def work(wait_s: float) -> None:
        client = None
        await asyncio.sleep(wait_s)
        for _ in left:
            if client is None or client.transport is None:
                await starting.acquire()
                _, client = await loop.create_connection(Client, "127.0.0.1", command["port"])
                client.on_first = starting.release
            client.arrivals = None if interval is None else []
            async with asyncio.timeout(PATIENCE_S):
                answer = await client.ask(request)
            seconds.append(time.perf_counter() - client.asked_at)
            firsts.append(client.first_at - client.asked_at)
            check(answer, expected)
            if client.arrivals:
                late.extend(delays(client.arrivals[-command["pieces"] :], interval))
            if pause:
                await asyncio.sleep(pause)
        if client is not None and client.transport is not None:
            client.transport.close()

    began = time.perf_counter()
    at_once = command["at_once"]
    each_s = command.get("ramp_s", 0.0) / at_once
    await asyncio.gather(*(work(n * each_s) for n in range(at_once)))
    wall = time.perf_counter() - began
    return {"wall": wall, "firsts": firsts, "seconds": seconds, "delays": late}


def delays(arrivals: list[float], interval: float) -> list[float]:
    """Return how late each piece of a stream came, against the earliest; the first has no time."""
    due = [at - number * interval for number, at in enumerate(arrivals)][1:]
    return [round(at - min(due), 6) for at in due]


async def main() -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await ask_many(json.loads(line))), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
