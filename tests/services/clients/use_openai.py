"""The Python client of OpenAI. Usage: python use_openai.py URL KEY MODEL."""

import asyncio
from typing import Any, Literal

import openai
from pydantic import BaseModel
from told import CITY, HAS_TOOLS, PROMPT, SAYS, TOOL, asked, raised, tell

URL, KEY, MODEL = asked()
MESSAGES: list[Any] = [{"role": "user", "content": PROMPT}]
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": TOOL, "description": SAYS, "parameters": CITY}}
]


class Place(BaseModel):
    """What the structured answer must be."""

    city: Literal["Paris", "Rome"]


def client(key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{URL}/v1", api_key=key, max_retries=0)


def chunks_told(chunks: list[Any]) -> dict[str, Any]:
    """What a streamed answer was: its text, its end, its usage."""
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    usage = next((chunk.usage for chunk in chunks if chunk.usage), None)
    return {
        "text": "".join(choice.delta.content or "" for choice in choices),
        "finish": [choice.finish_reason for choice in choices if choice.finish_reason],
        "usage": usage and usage.model_dump(),
        "chunks": len(chunks),
    }


def whole(api: openai.OpenAI) -> dict[str, Any]:
    answer = api.chat.completions.create(model=MODEL, messages=MESSAGES)
    choice = answer.choices[0]
    return {
        "text": choice.message.content,
        "finish": choice.finish_reason,
        "usage": answer.usage and answer.usage.model_dump(),
        "model": answer.model,
    }


def stream(api: openai.OpenAI) -> dict[str, Any]:
    options: Any = {"include_usage": True}
    with api.chat.completions.create(
        model=MODEL, messages=MESSAGES, stream=True, stream_options=options
    ) as chunks:
        return chunks_told(list(chunks))


async def async_stream() -> dict[str, Any]:
    async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0) as api:
        chunks = await api.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        return chunks_told([chunk async for chunk in chunks])


def tools(api: openai.OpenAI) -> dict[str, Any]:
    """Offer a tool, send back its result, and ask the same again as a stream."""
    answer = api.chat.completions.create(model=MODEL, messages=MESSAGES, tools=TOOLS)
    choice = answer.choices[0]
    calls = choice.message.tool_calls or []
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls]
    then = api.chat.completions.create(
        model=MODEL, messages=[*MESSAGES, choice.message, *results], tools=TOOLS
    )
    with api.chat.completions.stream(model=MODEL, messages=MESSAGES, tools=TOOLS) as events:
        streamed = events.get_final_completion().choices[0].message.tool_calls or []
    return {
        "finish": choice.finish_reason,
        "calls": [[call.function.name, call.function.arguments] for call in calls],
        "then": then.choices[0].message.content,
        "streamed": [[call.function.name, call.function.arguments] for call in streamed],
    }


def parse(api: openai.OpenAI) -> dict[str, Any] | None:
    answer = api.chat.completions.parse(model=MODEL, messages=MESSAGES, response_format=Place)
    parsed = answer.choices[0].message.parsed
    return parsed and parsed.model_dump()


def errors(api: openai.OpenAI) -> dict[str, str]:
    def asks(api: openai.OpenAI, model: str, messages: Any) -> str:
        return raised(lambda: api.chat.completions.create(model=model, messages=messages))

    return {
        "key": asks(client("wrong"), MODEL, MESSAGES),
        "model": asks(api, "no-such-model", MESSAGES),
        "body": asks(api, MODEL, 7),
    }


with client() as api:
    tell(
        models=[model.id for model in api.models.list()],
        whole=whole(api),
        stream=stream(api),
        async_stream=asyncio.run(async_stream()),
        tools=tools(api) if HAS_TOOLS else None,
        parse=parse(api) if HAS_TOOLS else None,
        errors=errors(api),
    )
