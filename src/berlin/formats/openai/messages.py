"""Messages as OpenAI's chat completions have them, read into ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from berlin.errors import InvalidRequestError
from berlin.types import ImagePart, Message, Part, TextPart, ToolCallPart, ToolResultPart
from berlin.types.messages import ROLES


def parse_messages(messages: Iterable[Any]) -> tuple[Message, ...]:
    """Return messages from decoded JSON: `role`, `content` (text or parts), `tool_calls`,
    `tool_call_id`. Members that are not known are ignored.

    Raises:
        InvalidRequestError: if there are none, or one is not of this form.
    """
    parsed = tuple(_parse_message(n, message) for n, message in enumerate(messages))
    if not parsed:
        raise InvalidRequestError.about("messages", "is empty: give at least one message")
    return parsed


def _parse_message(n: int, message: Any) -> Message:
    here = f"messages[{n}]"
    if not isinstance(message, Mapping):
        raise InvalidRequestError.about(here, 'must be {"role": …, "content": …}')
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in ROLES:
        known = ", ".join(sorted(ROLES))
        raise InvalidRequestError.about(f"{here}.role", f"must be one of {known}")
    calls = message.get("tool_calls")
    if role == "assistant" and calls:
        said = () if content is None else _parse_content(here, content)
        return Message("assistant", (*said, *_parse_calls(here, calls)))
    parts = _parse_content(here, content)
    answered = message.get("tool_call_id")
    if role == "tool" and isinstance(answered, str):
        text = "".join(part.text for part in parts if isinstance(part, TextPart))
        return Message("tool", (ToolResultPart(answered, text),))
    return Message(role, parts)  # type: ignore[arg-type]  # checked against ROLES above


def _parse_content(here: str, content: Any) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (TextPart(content),)
    if not isinstance(content, list):
        raise InvalidRequestError.about(f"{here}.content", "must be text or a list of parts")
    return tuple(_parse_part(f"{here}.content[{k}]", part) for k, part in enumerate(content))


def _parse_part(here: str, part: Any) -> Part:
    match part:
        case {"type": "text" | "input_text" | "output_text", "text": str(text)}:
            return TextPart(text)
        case {"type": "refusal", "refusal": str(text)}:
            return TextPart(text)
        case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
            return ImagePart(url)
    raise InvalidRequestError.about(
        here,
        'must be {"type": "text", "text": …} or {"type": "image_url", "image_url": {"url": …}}',
    )


def _parse_calls(here: str, calls: Any) -> Iterable[ToolCallPart]:
    if not isinstance(calls, list):
        raise InvalidRequestError.about(f"{here}.tool_calls", "must be a list")
    for k, call in enumerate(calls):
        match call:
            case {"id": str(id_), "function": {"name": str(name), "arguments": str(arguments)}}:
                yield ToolCallPart(id_, name, arguments or "{}")
            case _:
                raise InvalidRequestError.about(
                    f"{here}.tool_calls[{k}]",
                    'must be {"id": …, "type": "function", "function": {"name", "arguments"}}',
                )
