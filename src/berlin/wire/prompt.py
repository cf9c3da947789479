"""A conversation as one prompt, for services that take only text."""

from __future__ import annotations

import re

from berlin.errors import InvalidRequestError
from berlin.types.messages import Message, TextPart

ROLE_NAMES = {
    "system": "System",
    "developer": "System",
    "user": "User",
    "assistant": "Assistant",
    "tool": "Tool",
}

# A line inside a message that could be taken for the head of another message, also behind
# invisible characters and with the full-width colon.
_BLANK = r"[\s\u00ad\u200b-\u200f\u2060-\u2064\ufeff]*"
_FORGED_HEAD = re.compile(
    rf"{_BLANK}(?:system|developer|user|assistant|tool|human|ai){_BLANK}[:\uff1a]", re.IGNORECASE
)


def flatten_messages(messages: tuple[Message, ...]) -> str:
    r"""Return the prompt for a conversation.

    One user message is its own text. Several stand one below the other as `Role: text`, with a
    blank line between, and `Assistant:` at the end. A line inside a message that looks like a
    role line gets a backslash before it, so no text can pretend to be another message.

    Raises:
        InvalidRequestError: if a message holds more than text.
    """
    texts = [_text_of(n, message) for n, message in enumerate(messages)]
    if len(messages) == 1 and messages[0].role == "user":
        return texts[0]
    blocks = [
        f"{ROLE_NAMES[message.role]}: {_escape(text)}"
        for message, text in zip(messages, texts, strict=True)
    ]
    return "\n\n".join([*blocks, "Assistant:"])


def _escape(text: str) -> str:
    # `splitlines` cuts at every character that any reader may take for a line end. The first
    # line is safe: it stands behind the true role.
    first, *rest = text.splitlines(keepends=True) or [""]
    if not rest:
        return text
    return first + "".join(f"\\{line}" if _FORGED_HEAD.match(line) else line for line in rest)


def _text_of(n: int, message: Message) -> str:
    for part in message.parts:
        if not isinstance(part, TextPart):
            kind = type(part).__name__.removesuffix("Part").lower()
            raise InvalidRequestError(
                f"messages[{n}] holds a part of kind {kind}, and this service takes only text"
            )
    return message.text
