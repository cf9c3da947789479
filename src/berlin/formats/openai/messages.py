"""Reads messages of OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from berlin.errors import InvalidRequestError
from berlin.formats.loose import as_id, as_text, others
from berlin.formats.opaque import Opaque, unseal
from berlin.formats.openai.functions import with_tool_messages
from berlin.formats.openai.table import DIALECT, REASONING
from berlin.types import (
    Extra,
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    make_extra,
)
from berlin.types.messages import ROLES
from berlin.wire.data_urls import make_data_url
from berlin.wire.json import encode_body

_MESSAGE = frozenset(
    {
        *("role", "content", "tool_calls", "tool_call_id", "refusal"),
        *(*REASONING, "reasoning_details"),
    }
)
_CALL = frozenset({"id", "type", "function", "index"})

# Its value says only that the content was a list: services may tell text in a list from a string.
AS_PARTS = {"content": "parts"}


def parse_messages(messages: Iterable[Any]) -> tuple[Message, ...]:
    """Return messages from decoded JSON. Raises InvalidRequestError."""
    parsed = tuple(
        _parse_message(n, message) for n, message in enumerate(with_tool_messages(messages))
    )
    if not parsed:
        raise InvalidRequestError.about("messages", "is empty: give at least one message")
    return parsed


def _parse_message(n: int, message: Any) -> Message:
    here = f"messages[{n}]"
    if not isinstance(message, dict):
        raise InvalidRequestError.about(here, 'must be {"role": …, "content": …}')
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in ROLES:
        known = ", ".join(sorted(ROLES))
        raise InvalidRequestError.about(f"{here}.role", f"must be one of {known}")
    extra = others(message, _MESSAGE)
    is_empty = role in ("assistant", "tool") and content is None
    said = () if is_empty else _parse_content(here, content)
    answered = message.get("tool_call_id")
    if role == "tool" and isinstance(answered, str):
        return Message(
            "tool", (_parse_result(answered, content, said),), make_extra(DIALECT, extra)
        )
    if isinstance(content, list) and all(isinstance(part, TextPart) for part in said):
        extra |= AS_PARTS
    if role == "assistant":
        calls = _parse_calls(here, message.get("tool_calls") or [])
        sealed = _unseal(message.get("reasoning_details"))
        if sealed is None:
            said = (*_parse_reasoning(message), *said, *_parse_refusal(message), *calls)
        else:
            stated = [
                msgspec.structs.replace(call, extra=sealed.calls.get(call.id, call.extra))
                for call in calls
            ]
            said = (*sealed.parts, *said, *_parse_refusal(message), *stated)
    return Message(role, said, make_extra(DIALECT, extra))  # type: ignore[arg-type]  # checked


def _parse_result(id: str, content: Any, said: tuple[Part, ...]) -> ToolResultPart:
    text = "".join(part.text for part in said if isinstance(part, TextPart))
    if not isinstance(content, list):
        return ToolResultPart(id, text)
    parts = tuple(
        part for part in said if isinstance(part, TextPart | ImagePart | FilePart | OpaquePart)
    )
    return ToolResultPart(id, text, parts=parts)


def _parse_content(here: str, content: Any) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (TextPart(content),)
    if not isinstance(content, list):
        raise InvalidRequestError.about(f"{here}.content", "must be text or a list of parts")
    return tuple(_parse_part(f"{here}.content[{k}]", part) for k, part in enumerate(content))


def _parse_part(here: str, part: Any) -> Part:
    match part:
        case {"type": "text" | "input_text" | "output_text", "text": str(text), **rest}:
            return TextPart(text, _rest(rest))
        case {"type": "refusal", "refusal": str(text)}:
            return TextPart(text, Extra(DIALECT, {"type": "refusal"}))
        case {"type": "image_url", "image_url": {"url": str(url), **fields}, **rest}:
            more: dict[Any, Any] = {**rest, "detail": fields.pop("detail", None)}
            return ImagePart(url, _rest({**more, "image_url": fields or None}))
        case {"type": "image_url", "image_url": str(url), **rest}:
            return ImagePart(url, _rest(rest))
        case {"type": "file", "file": {"file_data": str(data), **fields}}:
            url = data if data[:5].lower() == "data:" else make_data_url("application/pdf", data)
            return FilePart(url, as_text(fields.get("filename")), extra=Extra(DIALECT, part))
        case {"type": "file", "file": {"file_id": str(id), **fields}}:
            return FilePart("", as_text(fields.get("filename")), id, Extra(DIALECT, part))
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": str(kind)}}:
            return FilePart(make_data_url(f"audio/{kind}", data), extra=Extra(DIALECT, part))
        case {"type": "thinking", "thinking": thought}:
            return ReasoningPart(_text_of_thought(thought), Extra(DIALECT, part))
        case {"type": "text" | "refusal" | "image_url" | "file" | "input_audio"}:
            pass
        case {"type": str()}:
            # Video, documents by URL …: known to some services of this dialect.
            return OpaquePart(Extra(DIALECT, part))
    raise InvalidRequestError.about(
        here,
        'must be {"type": "text", "text": …} or {"type": "image_url", "image_url": {"url": …}}',
    )


def _text_of_thought(thought: Any) -> str:
    pieces = thought if isinstance(thought, list) else [thought]
    return "".join(
        as_text(piece.get("text")) if isinstance(piece, Mapping) else as_text(piece)
        for piece in pieces
    )


def _rest(members: Mapping[Any, Any]) -> Extra | None:
    return make_extra(DIALECT, others(members, ("type",)))


def _parse_reasoning(message: Mapping[str, Any]) -> Iterator[Part]:
    said = {name: value for name in REASONING if isinstance(value := message.get(name), str)}
    text = next(filter(None, said.values()), "")
    if len(said) > 1 and len(set(said.values())) == 1:
        # Berlin shows reasoning under the most common name too; the other one is the service's.
        del said[REASONING[0]]
    # An empty one is kept: some services want one in every turn once a model has reasoned.
    more: dict[str, Any] = dict(said)
    details = message.get("reasoning_details")
    if isinstance(details, list) and details:
        more["reasoning_details"] = details
    if more:
        # Sent back to the service under its original name.
        yield ReasoningPart(text, Extra(DIALECT, more))


def _unseal(details: Any) -> Opaque | None:
    """Return the state of another dialect's service, if a message carries it."""
    for detail in details if isinstance(details, list) else ():
        sealed = unseal(detail.get("data")) if isinstance(detail, Mapping) else None
        if sealed is not None:
            return sealed
    return None


def _parse_refusal(message: Mapping[str, Any]) -> Iterator[Part]:
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        yield TextPart(refusal, Extra(DIALECT, {"refusal": True}))


def _parse_calls(here: str, calls: Any) -> Iterator[ToolCallPart]:
    if not isinstance(calls, list):
        raise InvalidRequestError.about(f"{here}.tool_calls", "must be a list")
    for k, call in enumerate(calls):
        yield _parse_call(f"{here}.tool_calls[{k}]", call)


def _parse_call(here: str, call: Any) -> ToolCallPart:
    match call:
        case {"type": "custom", "custom": {"name": str(name), "input": str(text)}}:
            rest = {n: v for n, v in call.items() if n not in ("id", "index")}
            asked = encode_body({"input": text}).decode()
            return ToolCallPart(as_id(call.get("id")), name, asked, Extra(DIALECT, rest))
        case {"function": {"name": str(name), **function}} if name:
            arguments: Any = function.get("arguments")
            if isinstance(arguments, Mapping):
                arguments = encode_body(arguments).decode()
            id = as_id(call.get("id"))
            if (arguments is None or isinstance(arguments, str)) and id:
                extra = make_extra(DIALECT, others(call, _CALL))
                return ToolCallPart(id, name, arguments or "{}", extra)
    raise InvalidRequestError.about(
        here, 'must be {"id": …, "type": "function", "function": {"name", "arguments"}}'
    )
