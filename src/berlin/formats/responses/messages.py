"""Messages, written as the input items of a service of this dialect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from berlin.errors import InvalidRequestError
from berlin.formats.responses.table import DIALECT
from berlin.formats.table import Carrier
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
from berlin.wire.data_urls import parse_data_url
from berlin.wire.json import loads


def _reasoning_item(text: str, members: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item as its service made it; clients of other dialects keep it in two places."""
    begun = {name: v for name, v in members.get("item", {}).items() if name != "status"}
    own = {**begun, **{name: v for name, v in members.items() if name not in ("item", "parts")}}
    shown = bool(text) and "content" not in own
    summary = [{"type": "summary_text", "text": text}] if shown else []
    return {"type": "reasoning", "summary": summary, **own}


def encode_messages(
    messages: Iterable[Message], tools: Iterable[Tool], carrier: Carrier
) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the client's instructions, and the items of all other messages.

    Raises:
        InvalidRequestError: if a part cannot be sent in this dialect.
    """
    writer = _Writer(tools, carrier)
    instructions: list[str] = []
    items: list[dict[str, Any]] = []
    for message in messages:
        if extra_of(message.extra, DIALECT).get("instructions"):
            instructions.append(message.text)
        else:
            items += writer.encode(message)
    return instructions, items


def input_of(arguments: str) -> str:
    """Return the text for a custom tool, which other services see as a function with `input`."""
    try:
        parsed = loads(arguments)
    except InvalidRequestError:
        return arguments
    match parsed:
        case {"input": str(text)} | str(text):
            return text
    return arguments


class _Writer:
    def __init__(self, tools: Iterable[Tool], carrier: Carrier) -> None:
        self._tools = {tool.name: extra_of(tool.extra, DIALECT) for tool in tools}
        self._carrier = carrier

    def encode(self, message: Message) -> Iterator[dict[str, Any]]:
        """Yield the items of a message."""
        members = self._carrier.own(message.extra, "messages.")
        match message.role:
            case "tool":
                yield from self._encode_results(message.parts)
            case "assistant":
                yield from self._encode_turn(message.parts)
            case role:
                content = [item for part in message.parts for item in self._encode_part(part)]
                yield {"type": "message", "role": role, "content": content, **members}

    def _encode_results(self, parts: Iterable[Part]) -> Iterator[dict[str, Any]]:
        for part in parts:
            match part:
                case ToolResultPart():
                    yield self._encode_result(part)
                case OpaquePart() if members := extra_of(part.extra, DIALECT):
                    yield dict(members)
                case _:
                    content = list(self._encode_part(part))
                    if content:
                        yield {"type": "message", "role": "user", "content": content}

    def _encode_result(self, result: ToolResultPart) -> dict[str, Any]:
        members = self._carrier.own(result.extra, "tool_results.")
        output: Any = [item for part in result.parts for item in self._encode_part(part)]
        if not output:
            output = result.content
        if result.is_error:
            # This API cannot mark it: without a note, the model would take it for a result.
            note = [{"type": "input_text", "text": "Error:"}]
            output = f"Error: {output}" if isinstance(output, str) else [*note, *output]
        head = {"type": "function_call_output", "call_id": result.id}
        return {**head, "output": output, **members}

    def _encode_turn(self, parts: tuple[Part, ...]) -> Iterator[dict[str, Any]]:
        """Yield the items of the model's output."""
        said: dict[str, Any] | None = None
        for part in parts:
            if isinstance(part, TextPart):
                if not part.text and part.extra is None and len(parts) > 1:
                    continue  # text beside calls is empty rather than absent in other dialects
                members = extra_of(part.extra, DIALECT)
                if said is None or "item" in members:
                    if said is not None:
                        yield said
                    head = {"type": "message", "role": "assistant"}
                    said = {**head, "content": [], **members.get("item", {})}
                said["content"].append(self._encode_said(part))
                continue
            if said is not None:
                yield said
                said = None
            yield from self._encode_made(part)
        if said is not None:
            yield said

    def _encode_said(self, part: TextPart) -> dict[str, Any]:
        own = self._carrier.own(part.extra, "content.")
        members = {k: v for k, v in own.items() if k != "item"}
        is_refusal = part.extra is not None and part.extra.members.get("refusal")
        if is_refusal or members.get("type") == "refusal":
            return {"type": "refusal", "refusal": part.text}
        return {"type": "output_text", "text": part.text, "annotations": [], **members}

    def _encode_made(self, part: Part) -> Iterator[dict[str, Any]]:
        match part:
            case ReasoningPart():
                if members := extra_of(part.extra, DIALECT):
                    yield _reasoning_item(part.text, members)
                elif part.text:
                    # Only the service that reasoned can read its reasoning.
                    self._carrier.drop("messages.reasoning")
            case ToolCallPart():
                yield self._encode_call(part)
            case OpaquePart():
                known = self._carrier.opaque(part)
                if not isinstance(known, str):
                    yield dict(known)
                elif known:
                    yield {
                        "type": "message",
                        "role": "assistant",
                        "content": [{"type": "output_text", "text": known, "annotations": []}],
                    }

    def _encode_call(self, call: ToolCallPart) -> dict[str, Any]:
        members = self._carrier.own(call.extra, "tool_calls.")
        tool: Mapping[str, Any] = self._tools.get(call.name, {})
        named: dict[str, Any] = {"call_id": call.id, "name": tool.get("name", call.name)}
        if "namespace" in tool:
            named["namespace"] = tool["namespace"]["name"]
        is_custom = members.get("type", tool.get("type")) in ("custom", "custom_tool_call")
        if is_custom:
            text = input_of(call.arguments)
            return {"type": "custom_tool_call", **named, "input": text, **members}
        return {"type": "function_call", **named, "arguments": call.arguments, **members}

    def _encode_part(self, part: Part) -> Iterator[dict[str, Any]]:
        match part:
            case TextPart():
                members = self._carrier.own(part.extra, "content.")
                yield {"type": "input_text", "text": part.text, **members}
            case ImagePart():
                members = self._carrier.own(part.extra, "content.")
                url = self._carrier.image_url(part)
                yield {"type": "input_image", "image_url": url, "detail": "auto", **members}
            case FilePart():
                yield self._encode_file(part)
            case OpaquePart():
                yield from self._carrier.opaque_items(part, "input_text")
            case ReasoningPart() | ToolCallPart() | ToolResultPart():
                raise InvalidRequestError.about("messages", "reasoning and calls are the model's")

    def _encode_file(self, part: FilePart) -> dict[str, Any]:
        members = dict(self._carrier.own(part.extra, "content."))
        if members.get("type") == "input_audio":
            return members
        file: dict[str, Any] = {"type": "input_file", **members}
        if part.file_id:
            return {**file, "file_id": part.file_id}
        data = parse_data_url(part.url)
        if data is None:
            return {**file, "file_url": part.url, **({"filename": part.name} if part.name else {})}
        kind, _, subtype = data.media_type.partition("/")
        if kind == "audio":
            audio = {"data": data.base64, "format": {"mpeg": "mp3"}.get(subtype, subtype)}
            return {"type": "input_audio", "input_audio": audio}
        return {**file, "filename": part.name or f"document.{subtype}", "file_data": part.url}
