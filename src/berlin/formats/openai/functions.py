"""The older form of tools: `functions`, `function_call` and messages of the role `function`.

It is read as tools with a mark: what has the mark is written in the older form again, so that it
arrives unchanged at services of this dialect, and clients of it get their answers in it.

Source: OpenAI's API reference of chat completions, which calls it deprecated (2026-11).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from berlin.formats.openai.table import DIALECT
from berlin.types import Tool, extra_of

MARK = "older_form"
"""The member of tools, calls and messages in the older form; in a result, the function's name."""


def tools_of(functions: Any) -> list[dict[str, Any]]:
    """Return the tools for the functions of a request; anything else is none."""
    given = functions if isinstance(functions, list) else []
    return [{"type": "function", "function": function, MARK: True} for function in given]


def is_older(tools: Iterable[Tool]) -> bool:
    """Return whether a client sent its tools as functions."""
    return any(MARK in extra_of(tool.extra, DIALECT) for tool in tools)


def with_tool_messages(messages: Iterable[Any]) -> Iterator[Any]:
    """Yield messages with calls and results of functions as those of tools.

    Calls in this form have no ids. A result belongs to the last call of its name.
    """
    ids: dict[Any, str] = {}
    for n, message in enumerate(messages):
        if not isinstance(message, dict):
            yield message
            continue
        called, name = message.get("function_call"), message.get("name")
        if isinstance(called, Mapping) and not message.get("tool_calls"):
            rest = {key: value for key, value in message.items() if key != "function_call"}
            id = ids[called.get("name")] = f"call_of_message_{n}"
            call = {"id": id, "type": "function", "function": called, MARK: True}
            yield {**rest, "tool_calls": [call]}
        elif message.get("role") == "function":
            id = ids.get(name, f"call_of_message_{n}")
            rest = {key: value for key, value in message.items() if key != "name"}
            yield {**rest, "role": "tool", "tool_call_id": id, MARK: name or ""}
        else:
            yield message
