"""Pydantic AI over OpenAI's chat completions. Usage: python use_pydantic_ai.py URL KEY MODEL."""

import asyncio
from typing import Any, Literal

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from told import HAS_TOOLS, PROMPT, asked, tell

URL, KEY, MODEL = asked()


def agent() -> Agent[None, str]:
    provider = OpenAIProvider(base_url=f"{URL}/v1", api_key=KEY)
    return Agent(OpenAIChatModel(MODEL, provider=provider), retries=0)


async def stream() -> dict[str, Any]:
    async with agent().run_stream(PROMPT) as answer:
        pieces = [piece async for piece in answer.stream_text(delta=True, debounce_by=None)]
        return {"text": "".join(pieces), "pieces": len(pieces)}


async def tools() -> dict[str, Any]:
    cities: list[str] = []
    traveller = agent()

    @traveller.tool_plain
    def weather(city: Literal["Paris", "Rome"]) -> str:
        """The weather of a city."""
        cities.append(city)
        return "sunny"

    answer = await traveller.run(PROMPT)
    return {"cities": cities, "then": answer.output}


async def main() -> None:
    whole = await agent().run(PROMPT)
    tell(
        whole={"text": whole.output, "usage": whole.usage.output_tokens},
        stream=await stream(),
        tools=await tools() if HAS_TOOLS else None,
    )


asyncio.run(main())
