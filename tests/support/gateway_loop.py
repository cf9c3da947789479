"""What one scripted provider serves, and whether the loop gets its turns meanwhile."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from berlin.gateway.catalog import Service
from berlin.providers.scripted import ScriptedProvider
from support.gateway import At, serve

# Of the processor: what other programs take of the machine meanwhile does not count.
BLOCKED_CPU_S = 0.5


@asynccontextmanager
async def one() -> AsyncIterator[tuple[At, ScriptedProvider]]:
    """Serve one provider."""
    provider = ScriptedProvider()
    async with serve(Service("s", provider, ["m1"])) as at:
        yield at, provider


@asynccontextmanager
async def never_blocked() -> AsyncIterator[None]:
    """Fail if this process worked for `BLOCKED_CPU_S` without the loop having had a turn.

    Work in another thread counts too, if it does not let the loop's thread run.
    """
    most = 0.0

    async def beat() -> None:
        nonlocal most
        while True:
            before = time.process_time()
            await asyncio.sleep(0.01)
            most = max(most, time.process_time() - before)

    beating = asyncio.create_task(beat())
    await asyncio.sleep(0)
    try:
        yield
        await asyncio.sleep(0.02)
    finally:
        beating.cancel()
    assert most < BLOCKED_CPU_S, f"{most:.2f} s of work between two turns of the loop"


def peak_mib() -> float:
    """Return the most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
