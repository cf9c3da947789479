"""What every client of the benchmark is: a process that reads so many answers when it is told to.

Commands come as lines of JSON on stdin (`load`, `answers`, `at_once`), results go out as lines of
JSON: seconds of the clock, seconds of CPU as the operating system counts them, and memory.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))
from pieces import text

Ask = Callable[[str], Awaitable[object]]
"""Reads one answer of a load, such as `burst/256`, and returns its text (or nothing to check)."""


def run(open_client: Callable[[str], Awaitable[Ask]]) -> None:
    """Serve commands until stdin ends; `open_client` gets the URL of the service."""
    uvloop.run(_serve(open_client))


async def _serve(open_client: Callable[[str], Awaitable[Ask]]) -> None:
    ask = await open_client(sys.argv[1])
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        result = await _round(ask, command["load"], command["answers"], command["at_once"])
        print(json.dumps(result), flush=True)


async def _round(ask: Ask, load: str, answers: int, at_once: int) -> dict[str, float]:
    expected = text(int(load.rpartition("/")[2]))
    left = iter(range(answers))

    async def work() -> None:
        for _ in left:
            got = await ask(load)
            if got is not None and got != expected:
                raise SystemExit(f"a wrong answer: {str(got)[:200]!r}")

    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(at_once)))
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "cpu": cpu}
