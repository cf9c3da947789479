"""The Python client of Anthropic. Usage: python use_anthropic.py URL KEY MODEL."""

from typing import Any

import anthropic
from told import CITY, HAS_TOOLS, PROMPT, SAYS, TOOL, asked, raised, tell

URL, KEY, MODEL = asked()
MESSAGES: list[Any] = [{"role": "user", "content": PROMPT}]
TOOLS: list[Any] = [{"name": TOOL, "description": SAYS, "input_schema": CITY}]
LIMIT = 200


def client(key: str = KEY) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=URL, api_key=key, max_retries=0)


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def told(message: anthropic.types.Message) -> dict[str, Any]:
    return {
        "text": text_of(message),
        "finish": message.stop_reason,
        "usage": [message.usage.input_tokens, message.usage.output_tokens],
        "model": message.model,
    }


def stream(api: anthropic.Anthropic) -> dict[str, Any]:
    with api.messages.stream(model=MODEL, messages=MESSAGES, max_tokens=LIMIT) as events:
        pieces = list(events.text_stream)
        return {**told(events.get_final_message()), "pieces": len(pieces), "read": "".join(pieces)}


def tools(api: anthropic.Anthropic) -> dict[str, Any]:
    """Offer a tool, send back its result, and ask the same again as a stream."""
    asks: dict[str, Any] = {"model": MODEL, "max_tokens": LIMIT, "tools": TOOLS}
    answer = api.messages.create(messages=MESSAGES, **asks)
    calls = [block for block in answer.content if block.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": c.id, "content": "sunny"} for c in calls]
    turns = [
        {"role": "assistant", "content": answer.content},
        {"role": "user", "content": results},
    ]
    then = api.messages.create(messages=[*MESSAGES, *turns], **asks)
    with api.messages.stream(messages=MESSAGES, **asks) as events:
        final = events.get_final_message()
    return {
        "finish": answer.stop_reason,
        "calls": [[call.name, call.input] for call in calls],
        "then": text_of(then),
        "streamed": [[b.name, b.input] for b in final.content if b.type == "tool_use"],
    }


def errors(api: anthropic.Anthropic) -> dict[str, str]:
    def asks(api: anthropic.Anthropic, model: str, messages: Any) -> str:
        create = api.messages.create
        return raised(lambda: create(model=model, messages=messages, max_tokens=LIMIT))

    return {
        "key": asks(client("wrong"), MODEL, MESSAGES),
        "model": asks(api, "no-such-model", MESSAGES),
        "body": asks(api, MODEL, 7),
    }


with client() as api:
    tell(
        whole=told(api.messages.create(model=MODEL, messages=MESSAGES, max_tokens=LIMIT)),
        stream=stream(api),
        tools=tools(api) if HAS_TOOLS else None,
        counted=api.messages.count_tokens(model=MODEL, messages=MESSAGES).input_tokens,
        errors=errors(api),
    )
