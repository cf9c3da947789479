"""Recognises the formats built into Berlin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from berlin.errors import BerlinError
from berlin.formats.build import build_format, path_of
from berlin.formats.contract import Format
from berlin.language.tables.chat import ChatMap, FormatName
from berlin.types import ChatResponse, TextDelta
from berlin.workbench.draft.documents import read_answer
from berlin.workbench.draft.sources.captured import Exchange

_NAMES: tuple[FormatName, ...] = (
    "openai-chat",
    "openai-responses",
    "anthropic-messages",
    "ollama-chat",
)


class KnownGuess(msgspec.Struct, frozen=True):
    """A chat in a built-in format.

    Attributes:
        chat: the table `[chat]`.
        base: the path of the base URL.
        model: the requested model.
        answer: the values read from the answer.
    """

    chat: dict[str, Any]
    base: str
    model: str
    answer: ChatResponse


def find_known(exchange: Exchange) -> KnownGuess | None:
    """Return the built-in format of a request and its answer; `None` if it is another."""
    for name, format in _formats():
        try:
            call = format.decode_request(exchange.request.body)
            answer = read_answer(format.decoder(), exchange.answer)
        except BerlinError:
            continue
        if not answer.text or not call.request.model:
            continue
        usual, path = path_of(ChatMap(format=name)), exchange.request.path
        chat: dict[str, Any] = {"format": name}
        base = path.removesuffix(usual) if path.endswith(usual) else ""
        if not path.endswith(usual):
            chat["path"] = path
        return KnownGuess(chat, base, call.request.model, answer)
    return None


def formats_with_text(answer: bytes) -> list[FormatName]:
    """Return the built-in formats that read text from an answer, which may have been cut off."""
    return [
        name
        for name, format in _formats()
        if any(isinstance(event, TextDelta) for event in format.decoder().feed(answer))
    ]


def _formats() -> Iterator[tuple[FormatName, Format]]:
    return ((name, build_format(ChatMap(format=name), "")) for name in _NAMES)
