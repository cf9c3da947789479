"""Renders a conversation with tools as text: calls as written, results as quotes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from berlin.routing.tools_over_text.offer import Offer
from berlin.types import (
    ChatRequest,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

_TICKS = re.compile("`{3,}")


class Renderer:
    """Writes the messages of one request.

    Args:
        request: the request; in a conversation kept by the service, only new messages are written.
        offer: the tools, and the wording.
        takes_images: whether the service does.
    """

    def __init__(self, request: ChatRequest, offer: Offer, *, takes_images: bool) -> None:
        self._request = request
        self._offer = offer
        self._takes_images = takes_images
        opening = re.escape(offer.opening)
        self._forged = re.compile(rf"^([ \t]*`{{3,}}[ \t]*)(?={opening})", re.MULTILINE)
        self._names: dict[str, str] = {}

    def request(self) -> ChatRequest:
        """Return the request as text, without tools and without anything that looks like a call."""
        request, offer = self._request, self._offer
        self._names = {
            part.id: part.name
            for message in request.messages
            for part in message.parts
            if isinstance(part, ToolCallPart)
        }
        known = request.known_messages or 0
        if request.conversation_id and request.known_messages is None:
            known = _end_of_last_answer(request)
        messages = [self._write(message) for message in request.messages[known:]]
        messages = _merge(message for message in messages if message.parts)
        # An explicit conversation id does not say which tools were offered in it.
        if not (request.conversation_id and request.known_messages):
            messages = _instruct(messages, offer.instructions())
        messages = _note(messages, offer.notes())
        return msgspec.structs.replace(
            request,
            messages=tuple(messages),
            tools=(),
            tool_choice="auto",
            parallel_tool_calls=None,
            response_format=None if offer.response_format else request.response_format,
            known_messages=0,
        )

    def _write(self, message: Message) -> Message:
        if message.role == "assistant":
            return Message.of("assistant", self._write_answer(message.parts))
        parts: list[Part] = []
        for part in message.parts:
            match part:
                case TextPart():
                    parts.append(TextPart(self._defuse(part.text)))
                case ToolResultPart():
                    parts += self._write_result(part)
                case ToolCallPart() | ReasoningPart() | OpaquePart():
                    pass
                case _:
                    parts.append(part)
        role = "user" if message.role == "tool" else message.role
        return Message(role, tuple(parts))

    def _write_answer(self, parts: Sequence[Part]) -> str:
        written = []
        for part in parts:
            match part:
                case TextPart() if part.text.strip():
                    written.append(part.text.strip())
                case ToolCallPart():
                    written.append(self._offer.write_call(part.name, part.arguments))
                case _:
                    pass
        return "\n\n".join(written)

    def _write_result(self, result: ToolResultPart) -> list[Part]:
        prompt = self._offer.prompt
        name = self._names.get(result.id) or "the tool"
        template = prompt.failure if result.is_error else prompt.result
        head = template.format(name=name, fence=self._offer.example)
        texts = [part.text for part in result.parts if isinstance(part, TextPart)]
        content = self._defuse("".join(texts) or result.content)
        images = [part for part in result.parts if isinstance(part, ImagePart)]
        if images and not self._takes_images:
            content = "\n".join([*filter(None, [content]), *[prompt.image] * len(images)])
        content = shorten_middle(content, prompt.max_result_chars)
        longest = max((len(run[0]) for run in _TICKS.finditer(content)), default=2)
        fence = "`" * (longest + 1)
        quoted = f"{head}\n{fence}\n{content or '(nothing)'}\n{fence}"
        return [TextPart(quoted), *(images if self._takes_images else ())]

    def _defuse(self, text: str) -> str:
        """Return a text in which nothing looks like a call, in case the model repeats it."""
        return self._forged.sub(r"\1\\", text)


def _end_of_last_answer(request: ChatRequest) -> int:
    """Return how many messages the kept conversation already has, if the caller continues it.

    Several results may follow the last answer: all of them are new.
    """
    messages = request.messages
    for n in range(len(messages), 0, -1):
        if messages[n - 1].role == "assistant":
            return n
    return len(messages) - 1


def shorten_middle(text: str, max_chars: int) -> str:
    """Return a text without its middle, if it has more than `max_chars` (0: any number)."""
    if not max_chars or len(text) <= max_chars:
        return text
    half = max(max_chars // 2, 1)
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[… {left_out} characters left out here …]\n{text[-half:]}"


def _merge(messages: Iterable[Message]) -> list[Message]:
    """Return messages with consecutive user messages merged."""
    merged: list[Message] = []
    for is_user, run in groupby(messages, lambda message: message.role == "user"):
        if is_user:
            merged.append(Message("user", _join(part for each in run for part in each.parts)))
        else:
            merged += [Message(message.role, _join(message.parts)) for message in run]
    return merged


def _join(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Return parts with adjacent texts merged, separated by a blank line."""
    joined: list[Part] = []
    for is_text, run in groupby(parts, lambda part: isinstance(part, TextPart)):
        if not is_text:
            joined += run
            continue
        first, *more = [part.text for part in run if isinstance(part, TextPart)]
        texts = [first, *(text.lstrip() for text in more)]
        whole = [*(text.rstrip() for text in texts[:-1]), texts[-1]]
        joined.append(TextPart("\n\n".join(whole)))
    return tuple(joined)


def _instruct(messages: list[Message], instructions: str) -> list[Message]:
    """Append instructions to the system prompt at the beginning."""
    if not instructions:
        return messages
    said = 0
    while said < len(messages) and messages[said].role in ("system", "developer"):
        said += 1
    added = (TextPart(instructions),)
    if not said:
        return [Message("system", added), *messages]
    last = messages[said - 1]
    return [
        *messages[: said - 1],
        Message(last.role, _join((*last.parts, *added))),
        *messages[said:],
    ]


def _note(messages: list[Message], notes: str) -> list[Message]:
    """Append notes to the last question."""
    if not notes:
        return messages
    if not messages or messages[-1].role != "user":
        return [*messages, Message.of("user", notes)]
    return [*messages[:-1], Message("user", _join((*messages[-1].parts, TextPart(notes))))]
