"""OpenAI's Agents SDK. Usage: python use_openai_agents.py URL KEY MODEL."""

import asyncio
from typing import Any

import openai
from told import HAS_TOOLS, PROMPT, asked, tell

from agents import (
    Agent,
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
cities: list[str] = []


@function_tool
def weather(city: str) -> str:
    """The weather of a city."""
    cities.append(city)
    return "sunny"


async def run() -> dict[str, Any]:
    brief = "Be brief." if HAS_TOOLS else None
    agent = Agent(name="ours", instructions=brief, model=MODEL)
    whole = await Runner.run(agent, PROMPT)
    streamed = Runner.run_streamed(agent, PROMPT)
    pieces = [
        event.data.delta
        async for event in streamed.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    told: dict[str, Any] = {
        "whole": {"text": whole.final_output},
        "stream": {"text": "".join(pieces)},
    }
    if HAS_TOOLS:
        able = Agent(name="able", model=MODEL, tools=[weather])
        told["tools"] = {"then": (await Runner.run(able, PROMPT)).final_output, "cities": cities}
    return told


tell(**asyncio.run(run()))
