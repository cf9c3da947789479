"""The object that describes a tool, common to the dialects of OpenAI and Ollama."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from berlin.errors import InvalidRequestError
from berlin.formats.client_request import decode_tool_members, make_tool
from berlin.formats.loose import others
from berlin.formats.table import Carrier
from berlin.types import Extra, Tool, make_extra
from berlin.wire.json import encode_body, loads

NO_PARAMETERS = '{"type":"object","properties":{}}'


def encode_tools(tools: tuple[Tool, ...], carrier: Carrier) -> list[dict[str, Any]]:
    """Return the objects for the tools that can be described, without other dialects' hosted tools.

    Raises:
        InvalidRequestError: if a schema is not JSON, or none of the requested tools is left.
    """
    return [encode_tool(tool, carrier) for tool in carrier.tools(tools)]


def encode_tool(tool: Tool, carrier: Carrier) -> dict[str, Any]:
    """Return the object for a tool. Raises InvalidRequestError if its schema is not JSON."""
    extra = dict(carrier.own(tool.extra, "tools."))
    if tool.hosted:
        return extra
    schema = loads(tool.parameters)
    function: dict[str, Any] = {"name": tool.name, "parameters": complete_schema(schema)}
    if tool.description:
        function["description"] = tool.description
    if tool.strict is not None and carrier.takes("strict", tool.strict):
        function["strict"] = tool.strict
    function |= extra.pop("function", {})
    return {"type": "function", "function": function, **extra}


def complete_schema(schema: Any) -> Any:
    """Return a schema of parameters with what services require: `type`, and `properties`."""
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        return schema
    if "type" in schema and ("properties" in schema or "$ref" in schema):
        return schema
    return {"type": "object", "properties": {}, **schema}


def decode_tools(tools: list[Raw] | None, dialect: str) -> tuple[Tool, ...]:
    """Return the tools that a client sent. Raises InvalidRequestError, which names the tool."""
    return tuple(_decode_tool(tool, param, dialect) for tool, param in decode_tool_members(tools))


def _decode_tool(tool: Any, param: str, dialect: str) -> Tool:
    match tool:
        case {"function": {"name": str(name), **function}, **rest} if name:
            parameters = function.get("parameters") or {}
            if not isinstance(parameters, dict):
                raise InvalidRequestError.about(
                    f"{param}.function.parameters", "must be an object, a JSON Schema"
                )
            more = others(rest, ("type",))
            if inner := others(function, _FUNCTION):
                more["function"] = inner
            schema = encode_body(parameters).decode() if parameters else NO_PARAMETERS
            return make_tool(name, function, schema, make_extra(dialect, more))
        case {"name": str(), **flat} if flat.pop("type", "function") == "function" and (
            "function" not in flat
        ):
            # As in the Responses API and in Anthropic's: Cursor sends both to chat completions.
            if "input_schema" in flat:
                flat["parameters"] = flat.pop("input_schema")
            return _decode_tool({"function": {"name": tool["name"], **flat}}, param, dialect)
        case {"type": str(kind)} if kind != "function" and "function" not in tool:
            name = tool.get("name")
            return Tool(
                name if isinstance(name, str) else kind, hosted=True, extra=Extra(dialect, tool)
            )
    raise InvalidRequestError.about(param, 'must be {"type": "function", "function": {"name": …}}')


_FUNCTION = frozenset({"description", "parameters", "strict"})
