"""any-llm."""

from __future__ import annotations

from any_llm import acompletion
from rounds import Ask, run

MESSAGES = [{"role": "user", "content": "x"}]


async def open_client(url: str) -> Ask:
    async def read(load: str) -> str:
        stream = await acompletion(
            model="bench",
            provider="openai",
            messages=MESSAGES,
            stream=True,
            api_base=f"{url}/{load}/v1",
            api_key="bench",
        )
        return "".join(
            [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        )

    return read


run(open_client)
