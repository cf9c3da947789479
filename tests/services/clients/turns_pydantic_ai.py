"""Three tool turns with Pydantic AI. Usage: turns_pydantic_ai.py URL KEY MODEL [stream]."""

import asyncio
import sys

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from told import asked, tell

URL, KEY, MODEL = asked()
calls: list[str] = []
provider = OpenAIProvider(base_url=f"{URL}/v1", api_key=KEY)
agent = Agent(OpenAIChatModel(MODEL, provider=provider), retries=0)


@agent.tool_plain
async def weather(city: str) -> str:
    """The weather of a city."""
    calls.append(city)
    return f"sunny in {city}"


async def main() -> str:
    if "stream" not in sys.argv:
        return (await agent.run("Weather?")).output
    async with agent.run_stream("Weather?") as answer:
        return await answer.get_output()


tell(text=asyncio.run(main()), calls=calls)
