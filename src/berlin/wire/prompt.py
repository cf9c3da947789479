"""A conversation as one prompt, for services that take only text."""

from __future__ import annotations

import re
import unicodedata

from berlin.errors import InvalidRequestError
from berlin.types.messages import Message, TextPart

ROLE_NAMES = {
    "system": "System",
    "developer": "System",
    "user": "User",
    "assistant": "Assistant",
    "tool": "Tool",
}

_ROLE_WORDS = frozenset({"system", "developer", "user", "assistant", "tool", "human", "ai"})
_COLONS = ":\u2236\ua789\ufe13\ufe55\uff1a"
_HEAD = re.compile(f"[^{_COLONS}\n]+(?=[{_COLONS}])")


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
    return first + "".join(f"\\{line}" if _looks_like_a_head(line) else line for line in rest)


def _looks_like_a_head(line: str) -> bool:
    """Whether a reader could take a line for the head of another message.

    What a reader does not see (blanks, marks of direction, joiners, variation selectors) does
    not count, and neither do wide forms of letters.
    """
    head = _HEAD.match(line)
    if head is None:
        return False
    word = unicodedata.normalize("NFKD", head[0])
    seen = "".join(c for c in word if c.isprintable() and unicodedata.category(c)[0] not in "MZ")
    return seen.casefold() in _ROLE_WORDS


def _text_of(n: int, message: Message) -> str:
    for part in message.parts:
        if not isinstance(part, TextPart):
            kind = type(part).__name__.removesuffix("Part").lower()
            raise InvalidRequestError(
                f"messages[{n}] holds a part of kind {kind}, and this service takes only text"
            )
    return message.text
