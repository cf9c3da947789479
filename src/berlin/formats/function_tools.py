"""The object that describes a tool, which the formats of OpenAI and Ollama have in common."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from berlin.errors import InvalidRequestError
from berlin.formats.client_request import decode_member
from berlin.types import Tool
from berlin.wire.json import encode_body, loads


def encode_tool(tool: Tool) -> dict[str, Any]:
    """Return the object for a tool. Raises InvalidRequestError if its schema is no JSON."""
    function: dict[str, Any] = {"name": tool.name, "parameters": loads(tool.parameters)}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def decode_tools(tools: list[Raw] | None) -> tuple[Tool, ...]:
    """Return the tools that a client sent. Raises InvalidRequestError, which names the tool."""
    decoded = []
    for n, raw in enumerate(tools or ()):
        param = f"tools[{n}]"
        match decode_member(raw, param):
            case {"function": {"name": str(name), **function}} if name:
                described = function.get("description")
                parameters = function.get("parameters") or {}
                if not isinstance(parameters, dict):
                    raise InvalidRequestError.about(
                        f"{param}.function.parameters", "must be an object, a JSON Schema"
                    )
                schema = encode_body(parameters).decode()
                decoded.append(Tool(name, described if isinstance(described, str) else "", schema))
            case _:
                raise InvalidRequestError.about(
                    param, 'must be {"type": "function", "function": {"name": …}}'
                )
    return tuple(decoded)
