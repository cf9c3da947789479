"""Three tool turns with the Agents SDK. Usage: turns_openai_agents.py URL KEY MODEL [stream]."""

import asyncio
import sys

import openai
from told import asked, tell

from agents import (
    Agent,
    ModelSettings,
    Runner,
    function_tool,
    set_default_openai_client,
    set_tracing_disabled,
)

URL, KEY, MODEL = asked()
set_tracing_disabled(True)
set_default_openai_client(
    openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0), use_for_tracing=False
)
calls: list[str] = []


@function_tool
async def weather(city: str) -> str:
    """The weather of a city."""
    calls.append(city)
    return f"sunny in {city}"


settings = ModelSettings(store=False, response_include=["reasoning.encrypted_content"])
agent = Agent(name="ours", model=MODEL, tools=[weather], model_settings=settings)


async def main() -> str:
    if "stream" not in sys.argv:
        return (await Runner.run(agent, "Weather?")).final_output
    answer = Runner.run_streamed(agent, "Weather?")
    async for _ in answer.stream_events():
        pass
    return answer.final_output


tell(text=asyncio.run(main()), calls=calls)
