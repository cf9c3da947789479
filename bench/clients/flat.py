"""Whether the cost stays: of the chunks of one very long answer, and of one stream after the other.

python bench/clients/flat.py URL        prints a line of JSON
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import uvloop
from holding import resident_kb

sys.path.insert(0, str(Path(__file__).parents[1]))
from pieces import text

from berlin import Berlin

CHUNKS = 1_000_000
STREAMS = 10_000


def cpu_s() -> float:
    """Return the seconds of CPU so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def long_answer(url: str) -> tuple[float, float]:
    """Return the CPU of the last tenth in parts of the second tenth's, and the growth in MB."""
    async with Berlin(f"{url}/burst/{CHUNKS}", "bench", "bench") as berlin:
        tenth, n, marks, memory = CHUNKS // 10, 0, [cpu_s()], 0
        async for piece in berlin.text("x"):
            if piece != f"w{n} ":
                raise SystemExit(f"piece {n} is {piece!r}")
            n += 1
            if n % tenth == 0:
                marks.append(cpu_s())
                if n == tenth:
                    memory = resident_kb()
        if n != CHUNKS:
            raise SystemExit(f"{n} pieces instead of {CHUNKS}")
        growth = (resident_kb() - memory) / 1000
    return (marks[-1] - marks[-2]) / (marks[2] - marks[1]), growth


async def many_streams(url: str) -> tuple[float, float]:
    """Return the CPU of the last thousand in parts of the second's, and the growth in MB."""
    async with Berlin(f"{url}/burst/16", "bench", "bench") as berlin:
        marks, memory = [cpu_s()], 0
        for n in range(1, STREAMS + 1):
            if (await berlin.ask("x")).text != text(16):
                raise SystemExit("a wrong answer")
            if n % 1000 == 0:
                marks.append(cpu_s())
                if n == 1000:
                    memory = resident_kb()
        growth = (resident_kb() - memory) / 1000
    return (marks[-1] - marks[-2]) / (marks[2] - marks[1]), growth


async def main(url: str) -> None:
    chunk, chunk_mb = await long_answer(url)
    stream, stream_mb = await many_streams(url)
    told = {"chunk": chunk, "chunk_mb": chunk_mb, "stream": stream, "stream_mb": stream_mb}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
