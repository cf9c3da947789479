"""Tools, in both directions: functions, custom tools, namespaces and hosted tools.

A namespace is flattened: its tool `close` in `agents` is the function `agents__close` for every
service, and `close` in `agents` again for the client. A custom tool, which takes text, is a
function with the one argument `input` for services that know only functions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Raw

from berlin.errors import InvalidRequestError
from berlin.formats.client_request import MAX_TOOLS, decode_tool_members, make_tool
from berlin.formats.function_tools import complete_schema
from berlin.formats.responses.table import DIALECT
from berlin.formats.table import Carrier
from berlin.types import Extra, Tool, extra_of
from berlin.wire.json import encode_body, loads

MAX_NAME_CHARS = 64
CUSTOM_SCHEMA = (
    '{"type":"object","properties":{"input":{"type":"string"}},'
    '"required":["input"],"additionalProperties":false}'
)


def decode_tools(tools: Iterable[Raw] | None) -> tuple[Tool, ...]:
    """Return the tools that a client sent. Raises InvalidRequestError, which names the tool."""
    decoded: list[Tool] = []
    for tool, param in decode_tool_members(tools):
        decoded += read_tool(tool, param)
        if len(decoded) > MAX_TOOLS:  # an entry may hold many
            raise InvalidRequestError.about("tools", f"more than {MAX_TOOLS} tools")
    seen: set[str] = set()
    for named in decoded:
        if named.name in seen and not named.hosted:
            raise InvalidRequestError.about("tools", f"two tools are called {named.name!r}")
        seen.add(named.name)
    return tuple(decoded)


def read_tool(tool: Any, param: str) -> Iterator[Tool]:
    """Yield the tools in one entry. Raises InvalidRequestError."""
    match tool:
        case {"type": "function", "name": str(name), **rest} if name:
            yield _read_function(name, rest, param)
        case {"type": "custom", "name": str(name), **rest} if name:
            members: dict[Any, Any] = {
                **rest,
                "type": "custom",
                "description": rest.get("description") or "",
            }
            yield Tool(
                name,
                _custom_description(rest),
                CUSTOM_SCHEMA,
                extra=Extra(DIALECT, members),
            )
        case {"type": "namespace", "name": str(name), "tools": list(inner)} if name:
            head = {"name": name, "description": tool.get("description") or ""}
            for k, one in enumerate(inner):
                for read in read_tool(one, f"{param}.tools[{k}]"):
                    yield _in_namespace(read, head)
        case {"type": "function" | "custom" | "namespace" as kind}:
            wanted = ', "tools": […]' if kind == "namespace" else ""
            raise InvalidRequestError.about(
                param, f'must be {{"type": "{kind}", "name": …{wanted}}}'
            )
        case {"type": str(kind)} if kind:
            yield Tool(kind, hosted=True, extra=Extra(DIALECT, tool))
        case _:
            raise InvalidRequestError.about(param, 'must be {"type": "function", "name": …}')


def flat_name(namespace: str, name: str) -> str:
    """Return the name under which services know a tool of a namespace."""
    if not namespace:
        return name
    flat = f"{namespace}__{name}"
    if len(flat) <= MAX_NAME_CHARS:
        return flat
    mark = hashlib.sha256(flat.encode()).hexdigest()[:8]
    return f"{flat[: MAX_NAME_CHARS - 9]}_{mark}"


def encode_tools(tools: tuple[Tool, ...], carrier: Carrier) -> list[dict[str, Any]]:
    """Return the list for a service of this dialect, with namespaces as they were.

    Raises:
        InvalidRequestError: if the schema of a tool is not JSON, or no tool is left.
    """
    encoded: list[dict[str, Any]] = []
    for tool in carrier.tools(tools):
        members = carrier.own(tool.extra, "tools.")
        if tool.hosted:
            encoded.append(dict(members))
            continue
        one = _encode_tool(tool, members)
        namespace = members.get("namespace")
        if not namespace:
            encoded.append(one)
            continue
        one["name"] = members["name"]
        last = encoded[-1] if encoded else {}
        if last.get("type") == "namespace" and last["name"] == namespace["name"]:
            last["tools"].append(one)
        else:
            encoded.append({"type": "namespace", **namespace, "tools": [one]})
    return encoded


def decode_choice(choice: Any, tools: tuple[Tool, ...]) -> tuple[str, tuple[Tool, ...]]:
    """Return the choice, and the tools that may be called. Raises InvalidRequestError."""
    match choice:
        case None | "auto":
            return "auto", tools
        case "none":
            return ("none" if tools else "auto"), tools
        case "required":
            chosen = "required"
        case {"type": "allowed_tools", "mode": "auto" | "required" as mode, "tools": list(names)}:
            tools = _allowed(names, tools)
            chosen = str(mode)
        case {"type": "function" | "custom", "name": str(name)}:
            chosen = flat_name(str(choice.get("namespace") or ""), name)
            if chosen not in {tool.name for tool in tools}:
                raise InvalidRequestError.about("tool_choice", "names a tool that is not in tools")
        case {"type": str(kind)} if kind in {tool.name for tool in tools if tool.hosted}:
            chosen = kind
        case _:
            raise InvalidRequestError.about(
                "tool_choice",
                'must be auto, none, required, one tool as {"type": "function", "name": …}, '
                "or allowed_tools",
            )
    if not tools:
        raise InvalidRequestError.about("tool_choice", "asks for a tool, but there are no tools")
    return chosen, tools


def encode_choice(choice: str, tools: Iterable[Tool]) -> Any:
    """Return the choice for a service of this dialect."""
    if choice in ("auto", "none", "required"):
        return choice
    tool = next((tool for tool in tools if tool.name == choice), None)
    members = extra_of(tool.extra, DIALECT) if tool is not None else {}
    if tool is not None and tool.hosted:
        return {"type": choice}
    named = {"type": members.get("type", "function"), "name": members.get("name", choice)}
    namespace = members.get("namespace")
    return {**named, "namespace": namespace["name"]} if namespace else named


def _read_function(name: str, rest: Mapping[Any, Any], param: str) -> Tool:
    parameters = rest.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise InvalidRequestError.about(f"{param}.parameters", "must be an object, a JSON Schema")
    known = ("parameters", "description", "strict", "type")
    members = {k: v for k, v in rest.items() if k not in known}
    return make_tool(name, rest, encode_body(parameters or {}).decode(), Extra(DIALECT, members))


def _in_namespace(tool: Tool, head: dict[str, str]) -> Tool:
    members = {**extra_of(tool.extra, DIALECT), "namespace": head, "name": tool.name}
    return Tool(
        flat_name(head["name"], tool.name),
        tool.description,
        tool.parameters,
        tool.strict,
        tool.hosted,
        Extra(DIALECT, members),
    )


def _custom_description(tool: Mapping[Any, Any]) -> str:
    described = tool.get("description")
    text = described if isinstance(described, str) else ""
    match tool.get("format"):
        case {"type": "grammar", "syntax": str(syntax), "definition": str(definition)}:
            return f"{text}\n\nThe input must follow this {syntax} grammar:\n{definition}".strip()
    return text


def _encode_tool(tool: Tool, members: Mapping[str, Any]) -> dict[str, Any]:
    own = {k: v for k, v in members.items() if k not in ("namespace", "name")}
    if own.get("type") == "custom":
        return {"type": "custom", "name": tool.name, **own}
    from_here = tool.extra is not None and tool.extra.dialect == DIALECT
    schema = loads(tool.parameters)
    encoded: dict[str, Any] = {
        "type": "function",
        "name": tool.name,
        "parameters": schema if from_here else complete_schema(schema),
        **own,
    }
    if tool.strict is not None or not from_here:
        # By default this API treats every schema as strict; others do not.
        encoded["strict"] = bool(tool.strict)
    return {**encoded, "description": tool.description} if tool.description else encoded


def _allowed(names: list[Any], tools: tuple[Tool, ...]) -> tuple[Tool, ...]:
    wanted: set[str] = set()
    for one in names:
        match one:
            case {"type": "function" | "custom", "name": str(name)}:
                wanted.add(flat_name(str(one.get("namespace") or ""), name))
            case {"type": str(kind)}:
                wanted.add(kind)
    return tuple(tool for tool in tools if tool.name in wanted)
