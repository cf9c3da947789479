"""Input items, as clients send them and as they are stored, read into messages.

Consecutive items made by the model (messages, calls, reasoning) become one assistant message: other
dialects have text and calls in one message.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from berlin.errors import InvalidRequestError
from berlin.formats.opaque import Opaque, unseal
from berlin.formats.responses.table import DIALECT, has_effect
from berlin.formats.responses.tools import flat_name
from berlin.types import (
    Extra,
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from berlin.wire.json import encode_body

Item: TypeAlias = Mapping[str, Any]
"""One item, as decoded JSON."""

_ROLES: dict[str, Role] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "developer",
}
_RESULTS = ("_output", "_response")
_PARTS = "input_text, input_image, input_file, output_text or refusal"


def decode_items(items: Iterable[tuple[str, Item]]) -> tuple[Message, ...]:
    """Return the messages in the items.

    Args:
        items: each with its name for errors.

    Raises:
        InvalidRequestError: if one has an unknown form; the error names the member.
    """
    given = list(items)
    opaque = [_opaque_of(item) for _, item in given]
    of_calls = {id: extra for one in opaque if one is not None for id, extra in one.calls.items()}
    messages: list[Message] = []
    turn: list[Part] = []
    said = called = False  # in this turn
    for (param, item), sealed in zip(given, opaque, strict=True):
        made = _made_by_model(item, param, sealed, of_calls)
        if made is None:
            _end_turn(turn, messages)
            said = called = False
            messages.append(_decode_other(item, param))
            continue
        if item.get("type", "message") == "message" and said and not called:
            _end_turn(turn, messages)
            said = False
        said = said or any(isinstance(part, TextPart) for part in made)
        called = called or any(isinstance(part, ToolCallPart) for part in made)
        turn += made
    _end_turn(turn, messages)
    return tuple(messages)


def _end_turn(turn: list[Part], messages: list[Message]) -> None:
    if turn:
        messages.append(Message("assistant", tuple(turn)))
        turn.clear()


def _opaque_of(item: Item) -> Opaque | None:
    return unseal(item.get("encrypted_content")) if item.get("type") == "reasoning" else None


def _made_by_model(
    item: Item, param: str, sealed: Opaque | None, of_calls: Mapping[str, Extra]
) -> list[Part] | None:
    """Return the parts of an item that the model made; `None` if someone else did."""
    match item:
        case {"type": "reasoning"}:
            return _decode_reasoning(item, sealed)
        case {
            "type": "function_call",
            "call_id": str(id),
            "name": str(name),
            "arguments": str() | dict() as arguments,
        }:
            if isinstance(arguments, dict):
                arguments = encode_body(arguments).decode()
            extra = _rest(item, "call_id", "name", "arguments", "namespace")
            flat = flat_name(str(item.get("namespace") or ""), name)
            return [ToolCallPart(id, flat, arguments or "{}", of_calls.get(id, extra))]
        case {
            "type": "custom_tool_call",
            "call_id": str(id),
            "name": str(name),
            "input": str(text),
        }:
            extra = Extra(DIALECT, {k: v for k, v in item.items() if k not in _CUSTOM})
            flat = flat_name(str(item.get("namespace") or ""), name)
            arguments = encode_body({"input": text}).decode()
            return [ToolCallPart(id, flat, arguments, of_calls.get(id, extra))]
        case {"type": "function_call" | "custom_tool_call" as kind}:
            text = "arguments" if kind == "function_call" else "input"
            raise InvalidRequestError.about(param, f"must have call_id, name and {text}, as text")
        case {"type": str(kind)} if kind != "message":
            return None if kind.endswith(_RESULTS) else [OpaquePart(Extra(DIALECT, item))]
        case {"role": "assistant"}:
            return _decode_said(item, param)
    return None


_CUSTOM = ("call_id", "name", "input", "namespace")


def _decode_reasoning(item: Item, sealed: Opaque | None) -> list[Part]:
    text = "\n\n".join(_texts(item.get("summary"))) or "".join(_texts(item.get("content")))
    if sealed is not None:
        is_reasoning = bool(text) or sealed.reasoning is not None
        return [*([ReasoningPart(text, sealed.reasoning)] if is_reasoning else ()), *sealed.parts]
    return [ReasoningPart(text, _rest(item))]


def _texts(parts: Any) -> Iterator[str]:
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            yield part["text"]


def _decode_said(item: Item, param: str) -> list[Part]:
    parts = list(_decode_content(item.get("content"), f"{param}.content"))
    head = {k: v for k, v in item.items() if k not in ("type", "role", "content")}
    first = parts[0] if parts else TextPart("")
    if isinstance(first, TextPart):
        members = {**(first.extra.members if first.extra else {}), "item": head}
        first = TextPart(first.text, Extra(DIALECT, members))
    return [first, *parts[1:]]


def _decode_other(item: Item, param: str) -> Message:
    match item:
        case {
            "type": "function_call_output" | "custom_tool_call_output",
            "call_id": str(id),
            "output": output,
        }:
            text, parts = _decode_output(output, f"{param}.output")
            kept = _rest(item, "call_id", "output", "type")
            if item["type"] != "function_call_output":
                kept = Extra(DIALECT, {**(kept.members if kept else {}), "type": item["type"]})
            return Message("tool", (ToolResultPart(id, text, parts=parts, extra=kept),))
        case {"type": "function_call_output" | "custom_tool_call_output"}:
            raise InvalidRequestError.about(param, "must have call_id, as text, and output")
        case {"type": str(kind)} if kind != "message":
            return Message("tool", (OpaquePart(Extra(DIALECT, item)),))
        case {"role": str(name)} if name in _ROLES:
            parts = tuple(_decode_content(item.get("content"), f"{param}.content"))
            return Message(_ROLES[name], parts, _rest(item, "role", "content"))
        case {"role": _}:
            raise InvalidRequestError.about(f"{param}.role", f"must be one of {', '.join(_ROLES)}")
    raise InvalidRequestError.about(
        param, 'must be {"role": …, "content": …}, or an item with its type'
    )


_Inner: TypeAlias = TextPart | ImagePart | FilePart | OpaquePart


def _decode_output(output: Any, param: str) -> tuple[str, tuple[_Inner, ...]]:
    """Return the text of a tool's output, and all of it if it is more than text."""
    if isinstance(output, str):
        return output, ()
    parts = tuple(_decode_content(output, param))
    text = "\n".join(part.text for part in parts if isinstance(part, TextPart))
    return text, parts


def _decode_content(content: Any, param: str) -> Iterator[_Inner]:
    if isinstance(content, str):
        yield TextPart(content)
        return
    if content is None:
        return
    if not isinstance(content, list):
        raise InvalidRequestError.about(param, "must be text or a list of parts")
    for n, part in enumerate(content):
        yield _decode_part(part, f"{param}[{n}]")


def _decode_part(part: Any, param: str) -> _Inner:
    match part:
        case {"type": "input_text" | "output_text" | "text", "text": str(text)}:
            return TextPart(text, _rest(part, "text"))
        case {"type": "refusal", "refusal": str(text)}:
            return TextPart(text, Extra(DIALECT, {"type": "refusal"}))
        case {"type": "input_image", "image_url": str(url)}:
            return ImagePart(url, _rest(part, "image_url"))
        case {"type": "input_file"}:
            return _decode_file(part, param)
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": str(kind)}}:
            return FilePart(f"data:audio/{kind};base64,{data}", extra=Extra(DIALECT, part))
        case {"type": "input_image", "file_id": str(_)}:
            return OpaquePart(Extra(DIALECT, part))
        case {"type": str(kind)} if kind not in _KNOWN_PARTS:
            return OpaquePart(Extra(DIALECT, part))
        case {"type": str(kind)}:
            raise InvalidRequestError.about(
                param, f"is not a whole part of type {kind}: a member is missing or wrong"
            )
    raise InvalidRequestError.about(param, f"must have a type: {_PARTS}")


_KNOWN_PARTS = frozenset(
    {"input_text", "output_text", "text", "refusal", "input_image", "input_file", "input_audio"}
)


def _decode_file(part: Item, param: str) -> FilePart:
    name = part.get("filename")
    name = name if isinstance(name, str) else ""
    extra = _rest(part, "filename", "file_data", "file_url", "file_id")
    match part:
        case {"file_data": str(data)} if data:
            if not data.startswith("data:"):
                kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
                data = f"data:{kind};base64,{data}"
            return FilePart(data, name, extra=extra)
        case {"file_url": str(url)} if url:
            return FilePart(url, name, extra=extra)
        case {"file_id": str(id)} if id:
            return FilePart("", name, id, extra)
    raise InvalidRequestError.about(param, "must have file_data, file_url or file_id")


def _rest(item: Item, *known: str) -> Extra | None:
    """Return the members that the hub has no word for."""
    members = {
        name: value
        for name, value in item.items()
        if name not in known and name != "type" and has_effect(name, value)
    }
    return Extra(DIALECT, members) if members else None
