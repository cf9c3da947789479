"""A conversation as one prompt, for services that take only text."""

from __future__ import annotations

import re
import unicodedata

import msgspec

from berlin.errors import InvalidRequestError
from berlin.types.messages import Message, OpaquePart, ReasoningPart, Role, TextPart

ROLE_NAMES = {
    "system": "System",
    "developer": "System",
    "user": "User",
    "assistant": "Assistant",
    "tool": "Tool",
}

_ROLE_WORDS = frozenset({"system", "developer", "user", "assistant", "tool", "human", "ai"})
_LONGEST_ROLE_WORD = max(map(len, _ROLE_WORDS))
_COLONS = ":\u2236\ua789\ufe13\ufe55\uff1a"
_HEAD = re.compile(f"[^{_COLONS}\n]+(?=[{_COLONS}])")


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The layout of a conversation's messages in one prompt.

    Attributes:
        templates: for each role, what surrounds `{text}`; by default `Role: {text}`.
        between: the separator between two messages.
        end: what follows the last one, so that the model continues as the assistant.
    """

    templates: dict[Role, str] = {}
    between: str = "\n\n"
    end: str = "Assistant:"

    def __post_init__(self) -> None:
        for role, template in self.templates.items():
            if template.count("{text}") != 1:
                raise ValueError(f"the template of {role} must contain {{text}} once")

    def around(self, role: str) -> tuple[str, str]:
        """Return the text before and after that of a message."""
        template = self.templates.get(role)  # type: ignore[call-overload]  # a role
        if template is None and role == "developer":
            template = self.templates.get("system")
        before, _, behind = (template or f"{ROLE_NAMES[role]}: {{text}}").partition("{text}")
        return before, behind


PLAIN = Shape()


def flatten_messages(messages: tuple[Message, ...], shape: Shape = PLAIN) -> str:
    r"""Return the prompt for a conversation. Raises InvalidRequestError.

    A single user message is just its text, unless the shape says what surrounds it. Several are
    written as `Role: text`, separated by blank lines, with `Assistant:` at the end. A marker of the
    shape inside a message gets a backslash before it, so that no text can pretend to be another
    message.
    """
    texts = [text_of(n, message) for n, message in enumerate(messages)]
    if len(messages) == 1 and messages[0].role == "user" and "user" not in shape.templates:
        return texts[0]
    marks = _marks(shape)
    blocks = []
    for message, text in zip(messages, texts, strict=True):
        before, behind = shape.around(message.role)
        blocks.append(before + _escape(_escape_marks(text, marks)) + behind)
    return shape.between.join([*blocks, shape.end])


def _marks(shape: Shape) -> re.Pattern[str] | None:
    """Return a pattern that finds the pieces of the templates anywhere in a text."""
    pieces = {piece.strip() for role in shape.templates for piece in shape.around(role)}
    pieces |= {
        piece.strip()
        for piece, usual in ((shape.end, PLAIN.end), (shape.between, PLAIN.between))
        if shape.templates or piece != usual
    }
    found = sorted(filter(None, pieces), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, found)), re.IGNORECASE) if found else None


def _escape_marks(text: str, marks: re.Pattern[str] | None) -> str:
    # Cut after the first character, so that no reader finds a whole marker.
    return text if marks is None else marks.sub(lambda m: f"{m[0][0]}\\{m[0][1:]}", text)


def _escape(text: str) -> str:
    # `splitlines` cuts at every character that any reader may take for a line end. The first
    # line is safe: it follows the real role.
    first, *rest = text.splitlines(keepends=True) or [""]
    if not rest:
        return text
    return first + "".join(f"\\{line}" if _looks_like_a_head(line) else line for line in rest)


def _looks_like_a_head(line: str) -> bool:
    """Whether a reader could mistake a line for the start of another message.

    Invisible characters (spaces, direction marks, joiners, variation selectors) are ignored, and
    wide letters count as plain ones.
    """
    head = _HEAD.match(line)
    if head is None:
        return False
    word = head[0]
    if word.isascii() and word.isprintable():  # nearly all are: a prompt has a million lines
        return word.replace(" ", "").lower() in _ROLE_WORDS
    seen = ""
    for char in unicodedata.normalize("NFKD", word):
        if char.isprintable() and unicodedata.category(char)[0] not in "MZ":
            seen += char.casefold()
            if len(seen) > _LONGEST_ROLE_WORD:
                return False
    return seen in _ROLE_WORDS


def text_of(n: int, message: Message) -> str:
    """Return the text of message `n`, without the reasoning that led to it.

    Raises:
        InvalidRequestError: if it holds something else.
    """
    if all(isinstance(part, TextPart) for part in message.parts):
        return message.text
    said = []
    for part in message.parts:
        if isinstance(part, OpaquePart):
            said += [TextPart(part.text)] if part.text else []
        elif isinstance(part, TextPart):
            said.append(part)
        elif not isinstance(part, ReasoningPart):
            kind = type(part).__name__.removesuffix("Part").lower()
            raise InvalidRequestError(
                f"messages[{n}] contains a part of kind {kind}, but this service accepts only text"
            )
    return Message(message.role, tuple(said)).text
