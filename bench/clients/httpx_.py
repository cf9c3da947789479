"""httpx with its own lines, and `json`: what a program without a library is."""

from __future__ import annotations

import json

import httpx
from rounds import Ask, run

BODY = {"model": "bench", "stream": True, "messages": [{"role": "user", "content": "x"}]}


async def open_client(url: str) -> Ask:
    client = httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=None)

    async def read(load: str) -> str:
        parts = []
        where = f"{url}/{load}/v1/chat/completions"
        async with client.stream("POST", where, json=BODY) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    delta = json.loads(line[6:])["choices"][0]["delta"]
                    parts.append(delta.get("content", ""))
        return "".join(parts)

    return read


run(open_client)
