"""Writes requests in the format of Anthropic's messages: a system prompt and turns of blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from berlin.errors import InvalidRequestError
from berlin.formats.anthropic.table import DIALECT
from berlin.formats.table import Carrier
from berlin.formats.tool_calls import is_object
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
    extra_of,
)
from berlin.wire.data_urls import parse_data_url
from berlin.wire.json import loads

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_-]")

_Blocks = list[dict[str, Any]]


class ConversationWriter:
    """Writes the messages of one request.

    Args:
        carrier: records what is left out.
        is_own: whether the client speaks this dialect too: then its turns stay as they are.
    """

    def __init__(self, carrier: Carrier, *, is_own: bool) -> None:
        self._carrier = carrier
        self._is_own = is_own

    def system(self, messages: tuple[Message, ...]) -> Any:
        """Return the system and developer prompt: text, or blocks if there is more to it.

        Raises:
            InvalidRequestError: for anything but text.
        """
        system = _system_of(messages)
        said: _Blocks = []
        is_list = False
        for n, message in enumerate(messages):
            if n not in system:
                continue
            if any(not isinstance(part, TextPart) for part in message.parts):
                raise InvalidRequestError.about(f"messages[{n}]", "the system says only text here")
            extra = self._carrier.own(message.extra, "messages.")
            blocks = [block for part in message.parts for block in self._encode_part(part, n)]
            is_list |= self._is_own and extra.get("content") == "parts"
            said += blocks
        is_list |= any(block.keys() > {"type", "text"} for block in said)
        return said if is_list else "\n\n".join(block["text"] for block in said)

    def messages(self, messages: tuple[Message, ...]) -> list[dict[str, Any]]:
        """Return the turns of user and assistant.

        Raises:
            InvalidRequestError: if there are none, or one contains something this API does not
                accept.
        """
        turns: list[tuple[str, _Blocks, dict[str, Any]]] = []
        system = _system_of(messages)
        for n, message in enumerate(messages):
            if n in system:
                continue
            extra = dict(self._carrier.own(message.extra, "messages."))
            blocks = [block for part in message.parts for block in self._encode_part(part, n)]
            role = extra.pop("role", "assistant" if message.role == "assistant" else "user")
            joins = extra.pop("continues", False) or not self._is_own
            if turns and turns[-1][0] == role and joins:
                turns[-1][1].extend(blocks)
            elif blocks:
                turns.append((role, blocks, extra))
        if not turns:
            raise InvalidRequestError.about(
                "messages", "is empty but for the system: ask something"
            )
        if not self._is_own and turns[-1][0] == "assistant" and "text" in turns[-1][1][-1]:
            # This API refuses white space at the end of what the model is to continue.
            turns[-1][1][-1]["text"] = turns[-1][1][-1]["text"].rstrip()
        return [_turn(role, blocks, extra) for role, blocks, extra in turns]

    def _encode_part(self, part: Part, n: int) -> Iterator[dict[str, Any]]:
        carrier = self._carrier
        match part:
            case TextPart():
                # This API refuses empty text, and white space alone.
                if part.text if self._is_own else part.text.strip():
                    extra = dict(carrier.own(part.extra, "content."))
                    extra.pop("type", None)
                    yield {"type": "text", "text": part.text, **extra}
            case ReasoningPart():
                signed = extra_of(part.extra, DIALECT)
                if "signature" in signed:
                    yield {"type": "thinking", "thinking": part.text, **signed}
                elif part.text or (part.extra is not None and any(part.extra.members.values())):
                    # Only what Anthropic signed can be sent back to it.
                    carrier.drop("messages.reasoning")
            case ImagePart():
                yield self._encode_image(part, f"messages[{n}]")
            case FilePart():
                yield self._encode_file(part, f"messages[{n}]")
            case ToolCallPart():
                yield self._encode_call(part)
            case ToolResultPart():
                yield self._encode_result(part, n)
            case OpaquePart():
                yield from carrier.opaque_items(part)

    def _encode_call(self, part: ToolCallPart) -> dict[str, Any]:
        extra = self._carrier.own(part.extra, "tool_calls.")
        text = part.arguments.strip() or "{}"
        # A call that was cut off is history too: it must not end the conversation.
        given = loads(text) if is_object(text) else {"arguments": part.arguments}
        id = _encode_id(part.id)
        return {"type": "tool_use", "id": id, "name": part.name, "input": given, **extra}

    def _encode_result(self, part: ToolResultPart, n: int) -> dict[str, Any]:
        extra = dict(self._carrier.own(part.extra, "tool_results."))
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": _encode_id(part.id)}
        if part.parts:
            block["content"] = [item for p in part.parts for item in self._encode_part(p, n)]
        elif part.content or not extra.pop("content", None):
            block["content"] = part.content
        if part.is_error:
            block["is_error"] = True
        return {**block, **extra}

    def _encode_image(self, part: ImagePart, param: str) -> dict[str, Any]:
        extra = dict(self._carrier.own(part.extra, "content."))
        if "source" in extra:
            return {"type": "image", **extra}
        if (data := parse_data_url(part.url)) is not None:
            source = {
                "type": "base64",
                "media_type": data.media_type or "image/png",
                "data": data.base64,
            }
        elif part.url[:8].lower() == "https://":
            source = {"type": "url", "url": part.url}
        else:
            raise InvalidRequestError.about(
                param, "this service takes images only as https: and data:image/…;base64,… URLs"
            )
        return {"type": "image", "source": source, **extra}

    def _encode_file(self, part: FilePart, param: str) -> dict[str, Any]:
        own = extra_of(part.extra, DIALECT)
        if "source" in own:
            return {"type": "document", **own}
        data = parse_data_url(part.url)
        title = {"title": part.name} if part.name else {}
        self._carrier.own(part.extra, "content.")
        if data is not None and data.media_type == "application/pdf":
            source = {"type": "base64", "media_type": data.media_type, "data": data.base64}
        elif part.url[:8].lower() == "https://":
            source = {"type": "url", "url": part.url}
        else:
            kind = data.media_type if data is not None else "a file by its id"
            raise InvalidRequestError.about(
                param, f"this service takes documents only as PDF or https: URL, not {kind}"
            )
        return {"type": "document", "source": source, **title}


def _turn(role: str, blocks: _Blocks, extra: Mapping[str, Any]) -> dict[str, Any]:
    more = {name: value for name, value in extra.items() if name != "content"}
    plain = len(blocks) == 1 and blocks[0].keys() == {"type", "text"}
    if plain and extra.get("content") != "parts":
        return {"role": role, "content": blocks[0]["text"], **more}
    # The sort is stable: this API requires tool results first.
    content = sorted(blocks, key=lambda block: block["type"] != "tool_result")
    return {"role": role, "content": content, **more}


def _encode_id(id: str) -> str:
    # Ids of other services may have characters that this API refuses.
    return _NOT_IN_IDS.sub("_", id)


def _system_of(messages: tuple[Message, ...]) -> set[int]:
    """Return which messages are the system prompt. Where nobody else speaks, the last one asks."""
    system = {n for n, message in enumerate(messages) if _is_system(message)}
    return system - {len(messages) - 1} if len(system) == len(messages) else system


def _is_system(message: Message) -> bool:
    if message.role not in ("system", "developer"):
        return False
    return "role" not in extra_of(message.extra, DIALECT)
