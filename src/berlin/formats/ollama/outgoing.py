"""Writes requests in the format of Ollama's chat."""

from __future__ import annotations

from typing import Any

import msgspec

from berlin.errors import InvalidRequestError
from berlin.formats.ollama.table import DIALECT
from berlin.formats.reasoning import effort_of, reasoning_of
from berlin.formats.table import Carrier
from berlin.formats.tool_calls import arguments_object
from berlin.types import (
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    extra_of,
)
from berlin.types.messages import separator_of
from berlin.wire.data_urls import parse_data_url

EFFORTS: dict[str, str | bool] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}


def encode_messages(messages: tuple[Message, ...], carrier: Carrier) -> list[dict[str, Any]]:
    """Return the messages. Raises InvalidRequestError for parts that this API does not support."""
    encoded: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for n, message in enumerate(messages):
        extra = dict(carrier.own(message.extra, "messages."))
        extra.pop("content", None)
        calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
        names.update((call.id, call.name) for call in calls)
        results = [part for part in message.parts if isinstance(part, ToolResultPart)]
        if results:
            encoded += [
                {**_encode_result(part, names.get(part.id, ""), n, carrier), **extra}
                for part in results
            ]
            continue
        role = "system" if message.role == "developer" else message.role
        said = _encode_said(message.parts, n, carrier, separator_of(message.role))
        item: dict[str, Any] = {"role": role, **said}
        if calls:
            item["tool_calls"] = [_encode_call(call, carrier) for call in calls]
        encoded.append({**item, **extra})
    return encoded


def _encode_said(
    parts: tuple[Part, ...], n: int, carrier: Carrier, between: str = ""
) -> dict[str, Any]:
    """Return text, thinking and images, each in its own member."""
    texts: list[str] = []
    thoughts: list[str] = []
    images: list[str] = []
    for part in parts:
        match part:
            case TextPart():
                carrier.own(part.extra, "content.")
                texts.append(part.text)
            case ReasoningPart():
                carrier.own(part.extra, "reasoning.")
                thoughts.append(part.text)
            case ImagePart():
                carrier.own(part.extra, "content.")
                data = parse_data_url(part.url)
                if data is None:
                    raise InvalidRequestError.about(
                        f"messages[{n}]",
                        "this service takes images only as data:image/…;base64,… URLs",
                    )
                images.append(data.base64)
            case FilePart():
                raise InvalidRequestError.about(
                    "content.document", "this service takes text and images, not documents"
                )
            case OpaquePart():
                known = carrier.opaque(part)
                texts.append(known if isinstance(known, str) else part.text)
    said: dict[str, Any] = {"content": between.join(texts)}
    if thinking := "".join(thoughts):
        said["thinking"] = thinking
    if images:
        said["images"] = images
    return said


def _encode_result(result: ToolResultPart, name: str, n: int, carrier: Carrier) -> dict[str, Any]:
    extra = dict(carrier.own(result.extra, "tool_results."))
    said = _encode_said(result.parts, n, carrier) if result.parts else {}
    content = result.content
    if result.is_error:
        # This API cannot mark it: without a note, the model would take it for a result.
        content = f"Error: {content}"
    encoded: dict[str, Any] = {"role": "tool", **said, "content": content}
    if not extra.pop("made_id", False):
        encoded["tool_call_id"] = result.id
    if tool := extra.pop("tool_name", name):
        encoded["tool_name"] = tool
    return {**encoded, **extra}


def _encode_call(call: ToolCallPart, carrier: Carrier) -> dict[str, Any]:
    extra = dict(carrier.own(call.extra, "tool_calls."))
    arguments = msgspec.json.decode(arguments_object(call.arguments))
    function = {"name": call.name, "arguments": arguments, **extra.pop("function", {})}
    head = {} if extra.pop("made_id", False) else {"id": call.id}
    return {**head, "function": function, **extra}


def encode_think(request: ChatRequest, carrier: Carrier) -> dict[str, Any]:
    """Return how much to think, if the request says so. Raises InvalidRequestError."""
    reasoning = reasoning_of(request)
    if reasoning is None:
        return {}
    own = extra_of(reasoning.extra, DIALECT)
    if own:
        return dict(own)
    carrier.own(reasoning.extra)
    effort = effort_of(reasoning)
    if not effort:
        return {}
    if effort not in EFFORTS:
        raise InvalidRequestError.about("reasoning_effort", f"must be one of {', '.join(EFFORTS)}")
    return {"think": EFFORTS[effort]}
