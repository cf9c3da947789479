"""Messages, written as the input items of a service of this dialect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from berlin.errors import InvalidRequestError
from berlin.formats.responses.table import DIALECT
from berlin.types import (
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
    extra_of,
)
from berlin.wire.json import loads


def encode_messages(
    messages: Iterable[Message], tools: Iterable[Tool]
) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the instructions that the client gave as such, and the items of all other messages.

    Raises:
        InvalidRequestError: if a part cannot be sent in this dialect.
    """
    own = {tool.name: extra_of(tool.extra, DIALECT) for tool in tools}
    instructions: list[str] = []
    items: list[dict[str, Any]] = []
    for message in messages:
        members = extra_of(message.extra, DIALECT)
        if members.get("instructions"):
            instructions.append(message.text)
        elif message.role == "tool":
            items += _encode_results(message.parts)
        elif message.role == "assistant":
            items += _encode_turn(message.parts, own)
        else:
            content = [_encode_part(part) for part in message.parts]
            items.append({"type": "message", "role": message.role, "content": content, **members})
    return instructions, items


def _encode_results(parts: Iterable[Part]) -> Iterator[dict[str, Any]]:
    for part in parts:
        match part:
            case ToolResultPart():
                output: Any = part.content
                if part.parts:
                    output = [_encode_part(one) for one in part.parts]
                members = extra_of(part.extra, DIALECT)
                head = {"type": "function_call_output", "call_id": part.id}
                yield {**head, "output": output, **members}
            case TextPart() | ImagePart() | FilePart():
                yield {"type": "message", "role": "user", "content": [_encode_part(part)]}
            case OpaquePart() if extra_of(part.extra, DIALECT):
                yield dict(part.extra.members)


def _encode_turn(parts: Iterable[Part], own: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the items of what the model said and asked for."""
    said: dict[str, Any] | None = None
    for part in parts:
        if isinstance(part, TextPart):
            members = extra_of(part.extra, DIALECT)
            if said is None or "item" in members:
                if said is not None:
                    yield said
                head = {"type": "message", "role": "assistant"}
                said = {**head, "content": [], **members.get("item", {})}
            said["content"].append(_encode_said(part))
            continue
        if said is not None:
            yield said
            said = None
        match part:
            case ReasoningPart() if members := extra_of(part.extra, DIALECT):
                yield {"type": "reasoning", "summary": [], **members}
            case ToolCallPart():
                yield _encode_call(part, own.get(part.name, {}))
            case OpaquePart() if members := extra_of(part.extra, DIALECT):
                yield dict(members)
    if said is not None:
        yield said


def _encode_said(part: TextPart) -> dict[str, Any]:
    members = {k: v for k, v in extra_of(part.extra, DIALECT).items() if k != "item"}
    if members.get("type") == "refusal":
        return {"type": "refusal", "refusal": part.text}
    return {"type": "output_text", "text": part.text, "annotations": [], **members}


def _encode_call(call: ToolCallPart, tool: dict[str, Any]) -> dict[str, Any]:
    members = extra_of(call.extra, DIALECT)
    named: dict[str, Any] = {"call_id": call.id, "name": tool.get("name", call.name)}
    if "namespace" in tool:
        named["namespace"] = tool["namespace"]["name"]
    is_custom = members.get("type", tool.get("type")) == "custom_tool_call"
    if is_custom or tool.get("type") == "custom":
        return {"type": "custom_tool_call", **named, "input": input_of(call.arguments), **members}
    return {"type": "function_call", **named, "arguments": call.arguments, **members}


def input_of(arguments: str) -> str:
    """Return the text for a custom tool, which others see as a function with `input`."""
    try:
        parsed = loads(arguments)
    except InvalidRequestError:
        return arguments
    match parsed:
        case {"input": str(text)} | str(text):
            return text
    return arguments


def _encode_part(part: Part) -> dict[str, Any]:
    match part:
        case TextPart():
            return {"type": "input_text", "text": part.text, **extra_of(part.extra, DIALECT)}
        case ImagePart():
            members = extra_of(part.extra, DIALECT)
            return {"type": "input_image", "image_url": part.url, "detail": "auto", **members}
        case FilePart():
            return _encode_file(part)
        case OpaquePart() if members := extra_of(part.extra, DIALECT):
            return dict(members)
    raise InvalidRequestError.about("messages", "a part of one cannot be sent to this service")


def _encode_file(part: FilePart) -> dict[str, Any]:
    members = dict(extra_of(part.extra, DIALECT))
    if members.get("type") == "input_audio":
        return members
    file: dict[str, Any] = {"type": "input_file", **members}
    if part.name:
        file["filename"] = part.name
    if part.file_id:
        file["file_id"] = part.file_id
    else:
        file["file_data" if part.url.startswith("data:") else "file_url"] = part.url
    return file
