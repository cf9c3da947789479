"""The Python client of Ollama. Usage: python use_ollama.py URL KEY MODEL."""

from typing import Any

import ollama
from told import CITY, HAS_TOOLS, PROMPT, SAYS, TOOL, asked, raised, tell

URL, KEY, MODEL = asked()
MESSAGES = [{"role": "user", "content": PROMPT}]
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": TOOL, "description": SAYS, "parameters": CITY}}
]


def client(key: str = KEY) -> ollama.Client:
    return ollama.Client(host=URL, headers={"Authorization": f"Bearer {key}"})


def told(parts: list[Any]) -> dict[str, Any]:
    last = parts[-1]
    return {
        "text": "".join(part.message.content or "" for part in parts),
        "done": [part.done for part in parts if part.done],
        "finish": last.done_reason,
        "usage": [last.prompt_eval_count, last.eval_count],
        "model": last.model,
        "parts": len(parts),
    }


def generate(api: ollama.Client) -> dict[str, Any]:
    whole = api.generate(model=MODEL, prompt=PROMPT)
    parts = list(api.generate(model=MODEL, prompt=PROMPT, stream=True))
    return {
        "text": whole.response,
        "streamed": "".join(part.response for part in parts),
        "finish": parts[-1].done_reason,
    }


def tools(api: ollama.Client) -> dict[str, Any]:
    """Offer a tool, and send back its result."""
    answer = api.chat(model=MODEL, messages=MESSAGES, tools=TOOLS)
    calls = answer.message.tool_calls or []
    result = {"role": "tool", "tool_name": TOOL, "content": "sunny"}
    then = api.chat(model=MODEL, messages=[*MESSAGES, answer.message, result], tools=TOOLS)
    return {
        "calls": [[call.function.name, dict(call.function.arguments)] for call in calls],
        "then": then.message.content,
    }


def errors(api: ollama.Client) -> dict[str, str]:
    return {
        "key": raised(lambda: client("wrong").list()),
        "model": raised(lambda: api.chat(model="no-such-model", messages=MESSAGES)),
        "show": raised(lambda: api.show("no-such-model")),
    }


api = client()
tell(
    models=[model.model for model in api.list().models],
    show=api.show(MODEL).capabilities,
    whole=told([api.chat(model=MODEL, messages=MESSAGES)]),
    stream=told(list(api.chat(model=MODEL, messages=MESSAGES, stream=True))),
    generate=generate(api),
    tools=tools(api) if HAS_TOOLS else None,
    errors=errors(api),
)
