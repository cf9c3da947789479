"""Messages: their roles and their parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from berlin.errors import InvalidRequestError
from berlin.types.extra import Extra, MaybeExtra

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]
ROLES: frozenset[str] = frozenset(get_args(Role))

# What a caller may write instead of `Message` values.
Messages: TypeAlias = list[dict[str, str]]


# None of these can be part of a cycle: without `gc=False`, collecting the garbage of a very long
# conversation would stop the loop.


class TextPart(msgspec.Struct, frozen=True, gc=False, tag="text"):
    """A piece of text."""

    text: str
    extra: MaybeExtra = None


class ReasoningPart(msgspec.Struct, frozen=True, gc=False, tag="reasoning"):
    """The visible reasoning of the model, with members that the service wants back (`extra`):
    a signature, an encrypted form. `text` may be empty.
    """

    text: str
    extra: MaybeExtra = None


class ImagePart(msgspec.Struct, frozen=True, gc=False, tag="image"):
    """An image, by URL (`https:` or `data:`). Berlin itself never fetches it."""

    url: str
    extra: MaybeExtra = None


class FilePart(msgspec.Struct, frozen=True, gc=False, tag="file"):
    """A document, a recording or a video, by URL (`https:` or `data:`, which names the media type)
    or by the service's own id of the file.
    """

    url: str = ""
    name: str = ""
    file_id: str = ""
    extra: MaybeExtra = None


class ToolCallPart(msgspec.Struct, frozen=True, gc=False, tag="tool_call"):
    """A call that the model requests; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str
    extra: MaybeExtra = None


class ToolResultPart(msgspec.Struct, frozen=True, gc=False, tag="tool_result"):
    """The result of the tool call `id`.

    Attributes:
        id: the id of the call.
        content: its text.
        is_error: whether the tool failed.
        parts: the whole result if it is more than one text, such as images or documents.
    """

    id: str
    content: str
    is_error: bool = False
    parts: tuple[TextPart | ImagePart | FilePart | OpaquePart, ...] = ()
    extra: MaybeExtra = None


class OpaquePart(msgspec.Struct, frozen=True, gc=False, tag="opaque"):
    """A part known only to its own dialect, complete in `extra`.

    Attributes:
        extra: the part.
        text: the text that replaces it in other dialects; `""` if nothing can.
    """

    extra: Extra
    text: str = ""


Part: TypeAlias = (
    TextPart | ReasoningPart | ImagePart | FilePart | ToolCallPart | ToolResultPart | OpaquePart
)


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message of a conversation."""

    role: Role
    parts: tuple[Part, ...]
    extra: MaybeExtra = None

    @classmethod
    def of(cls, role: Role, text: str) -> Message:
        """Return a message with one part of text."""
        return cls(role, (TextPart(text),))

    @property
    def text(self) -> str:
        """All parts of text, joined as this role joins them."""
        if len(self.parts) == 1 and isinstance(self.parts[0], TextPart):
            return self.parts[0].text
        texts = [part.text for part in self.parts if isinstance(part, TextPart)]
        return separator_of(self.role).join(texts)


def separator_of(role: Role) -> str:
    """Return the separator between the texts of one message: instructions are paragraphs, anything
    else is one text.
    """
    return "\n\n" if role in ("system", "developer") else ""


def parse_messages(messages: object) -> tuple[Message, ...]:
    """Return messages from a caller's argument. Raises InvalidRequestError.

    Args:
        messages: a prompt, or a list of `{"role": …, "content": …}` and `Message` values.
    """
    if isinstance(messages, str):
        return (Message.of("user", messages),)
    if isinstance(messages, Mapping | bytes) or not isinstance(messages, Iterable):
        raise InvalidRequestError(
            'messages must be a prompt or a list of {"role": …, "content": …}, '
            f"not {type(messages).__name__}"
        )
    parsed = tuple(_parse_message(n, message) for n, message in enumerate(messages))
    if not parsed:
        raise InvalidRequestError("messages is empty: give at least one message")
    return parsed


def _parse_message(n: int, message: Any) -> Message:
    if isinstance(message, Message):
        return message
    if not isinstance(message, Mapping):
        raise InvalidRequestError(
            f'messages[{n}] must be {{"role": …, "content": …}}, not {type(message).__name__}'
        )
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in ROLES:
        shown = repr(role)[:40]
        raise InvalidRequestError(
            f"messages[{n}].role is {shown}; expected one of {', '.join(sorted(ROLES))}"
        )
    if not isinstance(content, str):
        raise InvalidRequestError(
            f"messages[{n}].content must be text, not {type(content).__name__}; "
            "for images and other parts pass Message values"
        )
    return Message.of(role, content)  # type: ignore[arg-type]  # checked against ROLES above
