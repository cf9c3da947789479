"""gpt4free, by its provider for services that speak OpenAI's format."""

from __future__ import annotations

from g4f.Provider.template import OpenaiTemplate
from rounds import Ask, run

MESSAGES = [{"role": "user", "content": "x"}]


async def open_client(url: str) -> Ask:
    async def read(load: str) -> str:
        answer = OpenaiTemplate.create_async_generator(
            "bench", MESSAGES, stream=True, api_key="bench", base_url=f"{url}/{load}/v1"
        )
        return "".join([piece async for piece in answer if isinstance(piece, str)])

    return read


run(open_client)
