"""What one scripted provider serves, and whether the loop stands still meanwhile."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from berlin.gateway.catalog import Service
from berlin.providers.scripted import ScriptedProvider
from support.gateway import At, serve

# 100 ms on a calm machine; this one runs other things at the same time.
BLOCKED_S = 0.5


@asynccontextmanager
async def one() -> AsyncIterator[tuple[At, ScriptedProvider]]:
    """Serve one provider."""
    provider = ScriptedProvider()
    async with serve(Service("s", provider, ["m1"])) as at:
        yield at, provider


@asynccontextmanager
async def never_blocked(within: float = BLOCKED_S) -> AsyncIterator[None]:
    """Fail if the loop stood still for longer than that inside."""
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.01)
            longest = max(longest, time.perf_counter() - before)

    beating = asyncio.create_task(beat())
    await asyncio.sleep(0)
    try:
        yield
        await asyncio.sleep(0.02)
    finally:
        beating.cancel()
    assert longest < within, f"the loop stood still for {longest:.2f} s"


def peak_mib() -> float:
    """Return the most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
