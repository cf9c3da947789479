"""The limit of a client: aiohttp reads the bytes, and nothing is made of them.

Whole answers (`whole`) are read at once, and their text is taken out with `json`.
"""

from __future__ import annotations

import json
import sys

import aiohttp
from rounds import Ask, run

KIND, MODE = sys.argv[2], sys.argv[3]
PATH = {"berlin": "api/chat/completions", "openai": "v1/chat/completions"}[KIND]


async def open_client(url: str) -> Ask:
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    body = {"prompt": "x", "model": "bench", "stream": True}
    sizes: dict[str, int] = {}

    async def read(load: str) -> None:
        size = 0
        async with session.post(f"{url}/{load}/{PATH}", json=body) as answer:
            async for data in answer.content.iter_any():
                size += len(data)
        if sizes.setdefault(load, size) != size:
            raise SystemExit(f"an answer of {size} bytes instead of {sizes[load]}")

    async def whole(load: str) -> str:
        async with session.post(f"{url}/{load}/{PATH}", json=body) as answer:
            data = await answer.read()
        return "".join(json.loads(line)["content"] for line in data.split(b"\n") if line)

    return whole if MODE == "whole" else read


run(open_client)
