"""A conversation in the format of Anthropic's messages: the system apart, and turns of blocks."""

from __future__ import annotations

import re
from typing import Any

from berlin.errors import InvalidRequestError
from berlin.types import (
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from berlin.wire.json import loads

_DATA_URL = re.compile(r"data:([^;,]+);base64,([A-Za-z0-9+/]+={0,2})", re.IGNORECASE)
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_-]")


def encode_system(messages: tuple[Message, ...]) -> str:
    """Return what the system and the developer say. Raises InvalidRequestError for images."""
    said = []
    for n, message in enumerate(messages):
        if not _is_system(message):
            continue
        if any(not isinstance(part, TextPart) for part in message.parts):
            raise InvalidRequestError.about(f"messages[{n}]", "the system says only text here")
        said.append(message.text)
    return "\n\n".join(text for text in said if text)


def encode_messages(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """Return the messages of user and assistant, of whom each speaks in turn.

    Raises:
        InvalidRequestError: if there are none, or one holds what this API does not take.
    """
    turns: list[tuple[str, list[dict[str, Any]]]] = []
    for n, message in enumerate(messages):
        if _is_system(message):
            continue
        blocks = [block for part in message.parts for block in _encode_part(part, n)]
        role = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        elif blocks:
            turns.append((role, blocks))
    if not turns:
        raise InvalidRequestError.about("messages", "is empty but for the system: ask something")
    return [{"role": role, "content": _content(blocks)} for role, blocks in turns]


def _content(blocks: list[dict[str, Any]]) -> Any:
    if len(blocks) == 1 and blocks[0]["type"] == "text":
        return blocks[0]["text"]
    # The sort is stable: this API wants the results of tools before all else.
    return sorted(blocks, key=lambda block: block["type"] != "tool_result")


def _encode_part(part: Part, n: int) -> list[dict[str, Any]]:
    match part:
        case TextPart():
            # This API refuses empty text.
            return [{"type": "text", "text": part.text}] if part.text else []
        case ImagePart():
            source = _encode_image(part.url, f"messages[{n}]")
            return [{"type": "image", "source": source}]
        case ToolCallPart():
            arguments = loads(part.arguments.strip() or "{}")
            if not isinstance(arguments, dict):
                raise InvalidRequestError.about(
                    f"messages[{n}]", f"the arguments of the call {part.id!r} are no JSON object"
                )
            id = _encode_id(part.id)
            return [{"type": "tool_use", "id": id, "name": part.name, "input": arguments}]
        case ToolResultPart():
            id = _encode_id(part.id)
            return [{"type": "tool_result", "tool_use_id": id, "content": part.content}]
        case ReasoningPart() | FilePart() | OpaquePart():
            return []


def _encode_id(id: str) -> str:
    # Ids of other services have marks that this API refuses.
    return _NOT_IN_IDS.sub("_", id)


def _encode_image(url: str, param: str) -> dict[str, Any]:
    if found := _DATA_URL.fullmatch(url):
        return {"type": "base64", "media_type": found[1], "data": found[2]}
    if url[:8].lower() == "https://":
        return {"type": "url", "url": url}
    raise InvalidRequestError.about(
        param, "this service takes images only as https: and data:image/…;base64,… URLs"
    )


def _is_system(message: Message) -> bool:
    return message.role in ("system", "developer")
