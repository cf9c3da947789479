"""What an open stream holds: so many streams that have had their first piece, and the memory.

python bench/clients/holding.py URL bare|berlin COUNT        prints KB for each stream
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import uvloop

from berlin import Berlin


def resident_kb() -> int:
    """Return the resident memory of this process."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


async def main(url: str, kind: str, count: int) -> None:
    base = f"{url}/hold/1"
    berlin = Berlin(base, "bench", "bench")
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    held: list[object] = []

    async def hold() -> None:
        if kind == "berlin":
            pieces: AsyncIterator[str] = berlin.text("x")
            await anext(pieces)
            held.append(pieces)
        else:
            answer = await session.post(f"{base}/api/chat/completions", json={"prompt": "x"})
            await answer.content.readany()
            held.append(answer)

    for _ in range(10):  # what is made once is made now
        await hold()
    before = resident_kb()
    for _ in range(count // 50):
        await asyncio.gather(*(hold() for _ in range(50)))
    print((resident_kb() - before) / (count // 50 * 50), flush=True)
    await asyncio.sleep(0)
    for pieces in held:
        if kind == "berlin":
            await pieces.aclose()
    await session.close()
    await berlin.aclose()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
