"""Reads what clients of Anthropic's messages send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from berlin.errors import InvalidRequestError
from berlin.formats.anthropic.blocks import decode_blocks
from berlin.formats.anthropic.table import BETA, DIALECT
from berlin.formats.client_request import (
    check_count,
    check_model,
    check_numbers,
    decode_member,
    decode_messages,
    decode_rest,
    decode_tool_members,
    decode_typed,
    make_tool,
)
from berlin.formats.contract import ClientCall
from berlin.formats.loose import as_count, as_text, others
from berlin.types import (
    ChatRequest,
    Extra,
    Message,
    Part,
    Reasoning,
    ResponseFormat,
    Role,
    Tool,
    ToolResultPart,
    make_extra,
)
from berlin.wire.json import encode_body

# Claude Code also uses `system` in the middle of a conversation.
_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}

# Its value only says that the content was a list.
AS_PARTS = {"content": "parts"}


class _Body(msgspec.Struct):
    """A request. Unlisted members travel beside it. Counting tokens needs no `max_tokens`."""

    messages: list[Raw]
    model: str | UnsetType = UNSET
    max_tokens: int | None = None
    stream: bool | None = None
    system: Raw | UnsetType = UNSET
    temperature: int | float | None = None
    top_p: int | float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    tools: list[Raw] | None = None
    tool_choice: Raw | UnsetType = UNSET


_DECODER = msgspec.json.Decoder(_Body)
_KNOWN = frozenset(_Body.__struct_fields__) | {BETA}


def decode_request(body: bytes) -> ClientCall:
    """Decode a client's request, for a chat or for counting tokens. Raises InvalidRequestError."""
    sent = decode_typed(body, _DECODER)
    rest = decode_rest(body, _KNOWN)
    messages = [
        message
        for n, item in enumerate(decode_messages(sent.messages))
        for message in _decode_message(item, f"messages[{n}]")
    ]
    if not messages:
        raise InvalidRequestError.about("messages", "is empty: give at least one message")
    metadata = rest.get("metadata")
    user = as_text(metadata.get("user_id")) if isinstance(metadata, Mapping) else ""
    options = {
        "max_tokens": check_count("max_tokens", sent.max_tokens),
        "temperature": sent.temperature,
        "top_p": sent.top_p,
        "top_k": sent.top_k,
        "stop": sent.stop_sequences or None,
        "user": user or None,
    }
    tools = tuple(_decode_tool(*member) for member in decode_tool_members(sent.tools))
    choice, parallel = _decode_choice(sent.tool_choice, tools) if tools else ("auto", None)
    request = ChatRequest(
        (*_decode_system(sent.system), *messages),
        check_model(sent.model),
        check_numbers(options),
        tools,
        choice,
        parallel,
        _decode_format(rest),
        _decode_reasoning(rest),
        stream=bool(sent.stream),
        extra=Extra(DIALECT, rest),
    )
    return ClientCall(request, bool(sent.stream), include_usage=True)


def _decode_system(raw: Raw | UnsetType) -> tuple[Message, ...]:
    content = decode_member(raw, "system")
    if content is None:
        return ()
    if isinstance(content, str):
        return (Message.of("system", content),) if content else ()
    parts = tuple(decode_blocks(content, "system"))
    return (Message("system", parts, Extra(DIALECT, AS_PARTS)),) if parts else ()


def _decode_message(message: Any, param: str) -> Iterator[Message]:
    """Yield the messages in one: each tool result becomes its own message."""
    if not isinstance(message, dict):
        raise InvalidRequestError.about(param, 'must be {"role": …, "content": …}')
    name, content = message.get("role"), message.get("content")
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        raise InvalidRequestError.about(f"{param}.role", f"must be one of {', '.join(_ROLES)}")
    extra = others(message, ("role", "content"))
    if role == "system":
        extra["role"] = "system"
    if content is None and role == "assistant":
        content = []  # as clients keep a turn that had nothing to say
    if isinstance(content, str):
        yield Message(role, Message.of(role, content).parts, make_extra(DIALECT, extra))
        return
    said: list[Part] = []
    results = 0
    for part in decode_blocks(content, f"{param}.content"):
        if not isinstance(part, ToolResultPart):
            said.append(part)
            continue
        joins = {"continues": True} if results else extra
        yield Message("tool", (part,), make_extra(DIALECT, joins))
        results += 1
    if said:
        joins = {"continues": True} if results else {**extra, **AS_PARTS}
        yield Message(role, tuple(said), make_extra(DIALECT, joins))


def _decode_tool(tool: Any, param: str) -> Tool:
    match tool:
        case {"type": str(kind)} if kind != "custom":
            # Anthropic runs it, or knows its schema.
            return Tool(as_text(tool.get("name")) or kind, hosted=True, extra=Extra(DIALECT, tool))
        case {"name": str(name), "input_schema": dict(schema)} if name:
            extra = make_extra(DIALECT, others(tool, _TOOL))
            return make_tool(name, tool, encode_body(schema).decode(), extra)
    raise InvalidRequestError.about(
        param, 'must be {"name": …, "input_schema": {…}}, with a JSON Schema'
    )


_TOOL = frozenset({"name", "description", "input_schema", "strict"})


def _decode_choice(raw: Raw | UnsetType, tools: tuple[Tool, ...]) -> tuple[str, bool | None]:
    """Return the choice, and `False` if only one tool may be called at a time."""
    chosen = decode_member(raw, "tool_choice")
    if chosen is None:
        return "auto", None
    if isinstance(chosen, dict):
        parallel = False if chosen.get("disable_parallel_tool_use") is True else None
        match chosen:
            case {"type": "auto" | "none" as kind}:
                return kind, parallel
            case {"type": "any"}:
                return "required", parallel
            case {"type": "tool", "name": str(name)} if name in {tool.name for tool in tools}:
                return name, parallel
    raise InvalidRequestError.about(
        "tool_choice", "must be of type auto, any, none, or tool with the name of one of the tools"
    )


def _decode_format(rest: dict[str, Any]) -> ResponseFormat | None:
    """Return the response format, and keep the other members of its configuration."""
    config = rest.get("output_config")
    wanted = config.get("format") if isinstance(config, dict) else None
    # While it was in beta, it was a member of the request.
    beta = {"output_format": True} if wanted is None and "output_format" in rest else {}
    match rest.pop("output_format") if beta else wanted:
        case None:
            return None
        case {"type": "json_schema", "schema": dict(schema), **more}:
            if isinstance(config, dict):
                rest["output_config"] = {n: v for n, v in config.items() if n != "format"}
            kept: dict[Any, Any] = {**more, **beta}
            extra = make_extra(DIALECT, kept)
            return ResponseFormat(encode_body(schema).decode(), extra=extra)
    raise InvalidRequestError.about(
        "output_config.format", "must be of type json_schema, with a schema"
    )


def _decode_reasoning(rest: dict[str, Any]) -> Reasoning | None:
    """Return how much to reason: as thinking, or as effort."""
    thinking, config = rest.pop("thinking", None), rest.get("output_config")
    effort = as_text(config.get("effort")) if isinstance(config, dict) else ""
    if not isinstance(thinking, dict):
        return Reasoning(effort, extra=Extra(DIALECT, {})) if effort else None
    budget = as_count(thinking.get("budget_tokens"))
    match thinking.get("type"):
        case "disabled":
            effort, budget = "", 0
        case "adaptive" | "enabled" if budget is None:
            effort = effort or "medium"
    return Reasoning(effort, budget, Extra(DIALECT, {"thinking": thinking}))
