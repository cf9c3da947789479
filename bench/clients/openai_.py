"""The openai library."""

from __future__ import annotations

import openai
from rounds import Ask, run

MESSAGES = [{"role": "user", "content": "x"}]


async def open_client(url: str) -> Ask:
    clients: dict[str, openai.AsyncOpenAI] = {}

    async def read(load: str) -> str:
        if load not in clients:
            clients[load] = openai.AsyncOpenAI(base_url=f"{url}/{load}/v1", api_key="bench")
        chat = clients[load].chat.completions
        stream = await chat.create(model="bench", messages=MESSAGES, stream=True)
        return "".join(
            [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        )

    return read


run(open_client)
