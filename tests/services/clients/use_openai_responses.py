"""OpenAI's Python client, Responses. Usage: python use_openai_responses.py URL KEY MODEL."""

import asyncio
from typing import Any, Literal

import openai
from pydantic import BaseModel
from told import CITY, HAS_TOOLS, PROMPT, SAYS, TOOL, asked, raised, tell

URL, KEY, MODEL = asked()
TOOLS: list[Any] = [{"type": "function", "name": TOOL, "description": SAYS, "parameters": CITY}]


class Place(BaseModel):
    """What the structured answer must be."""

    city: Literal["Paris", "Rome"]


def client(key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{URL}/v1", api_key=key, max_retries=0)


def whole(api: openai.OpenAI) -> dict[str, Any]:
    answer = api.responses.create(model=MODEL, input=PROMPT)
    return {
        "text": answer.output_text,
        "status": answer.status,
        "kinds": [item.type for item in answer.output],
        "usage": answer.usage and answer.usage.total_tokens,
    }


def stream(api: openai.OpenAI) -> dict[str, Any]:
    """Read the events as they are, and once more as the client puts them together."""
    pieces, kinds = [], []
    for event in api.responses.create(model=MODEL, input=PROMPT, stream=True):
        kinds.append(event.type)
        if event.type == "response.output_text.delta":
            pieces.append(event.delta)
    with api.responses.stream(model=MODEL, input=PROMPT) as events:
        snapshot = events.until_done().get_final_response()
    return {"text": "".join(pieces), "snapshot": snapshot.output_text, "end": kinds[-1]}


async def async_stream() -> str:
    async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0) as api:
        events = await api.responses.create(model=MODEL, input=PROMPT, stream=True)
        return "".join([e.delta async for e in events if e.type == "response.output_text.delta"])


def tools(api: openai.OpenAI) -> dict[str, Any]:
    """Offer a tool, and send back its result: with the whole conversation, and with an id."""
    asks: Any = {"model": MODEL, "tools": TOOLS}
    answer = api.responses.create(input=PROMPT, **asks)
    calls = [item for item in answer.output if item.type == "function_call"]
    results: list[Any] = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        for call in calls
    ]
    turns: list[Any] = [{"role": "user", "content": PROMPT}, *answer.output, *results]
    then = api.responses.create(input=turns, store=False, **asks)
    after = api.responses.create(input=results, previous_response_id=answer.id, **asks)
    with api.responses.stream(input=PROMPT, **asks) as events:
        streamed = events.get_final_response().output
    return {
        "calls": [[call.name, call.arguments] for call in calls],
        "then": then.output_text,
        "after": after.output_text,
        "streamed": [[i.name, i.arguments] for i in streamed if i.type == "function_call"],
    }


def stored(api: openai.OpenAI) -> dict[str, Any]:
    answer = api.responses.create(model=MODEL, input=PROMPT)
    again = api.responses.retrieve(answer.id)
    listed = api.responses.input_items.list(answer.id)
    api.responses.delete(answer.id)
    return {
        "again": again.output_text,
        "input": [item.content[0].text for item in listed if item.type == "message"],
        "gone": raised(lambda: api.responses.retrieve(answer.id)),
    }


def parse(api: openai.OpenAI) -> dict[str, Any] | None:
    answer = api.responses.parse(model=MODEL, input=PROMPT, text_format=Place)
    return answer.output_parsed and answer.output_parsed.model_dump()


def errors(api: openai.OpenAI) -> dict[str, str]:
    def asks(api: openai.OpenAI, model: str, **more: Any) -> str:
        return raised(lambda: api.responses.create(**{"model": model, "input": PROMPT, **more}))

    return {
        "key": asks(client("wrong"), MODEL),
        "model": asks(api, "no-such-model"),
        "body": asks(api, MODEL, input=7),
        "previous": asks(api, MODEL, previous_response_id="resp_no_such"),
    }


with client() as api:
    tell(
        whole=whole(api),
        stream=stream(api),
        async_stream=asyncio.run(async_stream()),
        stored=stored(api),
        tools=tools(api) if HAS_TOOLS else None,
        parse=parse(api) if HAS_TOOLS else None,
        errors=errors(api),
    )
