"""How fast `Berlin` is beside a bare aiohttp reader of the same stream, and beside itself with a
decoder written by hand in place of the recipe's: `make bench`.

All read the same answers from the same service in the same run, in turn; what counts is the
ratio. CPU is what the operating system counts for this process.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec
import uvloop

from berlin import Berlin, StreamEvent, TextDelta
from berlin.errors import ServiceError
from berlin.wire.decoding import DocumentDecoder
from berlin.wire.framing import build_framer

PIECES = 256
ANSWERS = 200
ROUNDS = 7
TEXT = "token "


async def bare(url: str) -> None:
    """Read the bytes and nothing else: the limit."""
    async with aiohttp.ClientSession() as session:
        for _ in range(ANSWERS):
            size = 0
            async with session.post(f"{url}/api/chat/completions", json={"prompt": "x"}) as answer:
                async for data in answer.content.iter_any():
                    size += len(data)
            assert size == PIECES * len('{"content":"token "}\n'), size


async def text(url: str) -> None:
    """Read the pieces of text."""
    async with Berlin(url, "bench", "bench") as berlin:
        for _ in range(ANSWERS):
            got = [piece async for piece in berlin.text("x")]
            assert got == [TEXT] * PIECES


class Line(msgspec.Struct, gc=False):
    """What a decoder of this one wire would look for."""

    content: str | None = None
    finish_reason: str | None = None
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class HandWritten(DocumentDecoder):
    """The decoder that somebody would have written for this wire instead of a recipe."""

    lines = msgspec.json.Decoder(Line)

    def __init__(self) -> None:
        super().__init__(build_framer("ndjson"), self.lines, "body")

    def _take_all(self, documents: list[Any], events: list[StreamEvent]) -> None:
        for line in documents:
            if line.content:
                events.append(TextDelta(line.content))
            if line.finish_reason:
                self._reason = "stop"
            if line.error is not msgspec.UNSET:
                self.failure = ServiceError("the service reports an error")
                return


async def by_hand(url: str) -> None:
    """Read the pieces of text with the decoder that was written by hand."""
    async with Berlin(url, "bench", "bench") as berlin:
        described = berlin._provider._format
        berlin._provider._format = SimpleNamespace(
            encode_request=described.encode_request,
            decoder=HandWritten,
            describe_error=described.describe_error,
            poll_s=None,
        )
        for _ in range(ANSWERS):
            got = [piece async for piece in berlin.text("x")]
            assert got == [TEXT] * PIECES


async def measure(run: Callable[[str], Awaitable[None]], url: str) -> tuple[float, float]:
    """Return seconds of the clock and of this process's CPU."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    await run(url)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


async def main() -> None:
    pin(0)
    command = [sys.executable, str(Path(__file__).with_name("service.py")), str(PIECES), TEXT]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: pin(1)
    ) as service:
        try:
            assert service.stdout is not None
            url = f"http://127.0.0.1:{int(service.stdout.readline())}"
            readers = (bare, text, by_hand)
            for reader in readers:  # warm up
                await reader(url)
            rounds = [[await measure(reader, url) for reader in readers] for _ in range(ROUNDS)]
        finally:
            service.kill()
    chunks = PIECES * ANSWERS
    print(
        f"Python {platform.python_version()}, aiohttp {aiohttp.__version__}, {os.cpu_count()} cores"
    )
    print(f"{ANSWERS} answers of {PIECES} pieces, medians of {ROUNDS} rounds in turn\n")
    print(f"{'':24}{'chunks/s':>12}{'CPU µs/chunk':>14}")
    for name, column in (("bare aiohttp bytes", 0), ("Berlin.text", 1), ("the same, by hand", 2)):
        wall = statistics.median(r[column][0] for r in rounds)
        cpu = statistics.median(r[column][1] for r in rounds)
        print(f"{name:24}{chunks / wall:12,.0f}{cpu / chunks * 1e6:14.2f}")
    for name, column in (("bare reader", 0), ("hand-written decoder", 2)):
        speed = statistics.median(r[column][0] / r[1][0] for r in rounds)
        cpu = statistics.median(r[1][1] / r[column][1] for r in rounds)
        print(f"\nBerlin.text / {name}: {speed:.2f} of the speed, {cpu:.2f} of the CPU", end="")
    print()


def pin(core: int) -> None:
    """Keep client and service on different cores, where there are two."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


if __name__ == "__main__":
    uvloop.run(main())
