"""Cuts a recorded answer into its documents, and reads it with the formats that are built in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from berlin.errors import BerlinError, ConfigurationError
from berlin.formats.build import build_format, path_of
from berlin.formats.contract import Format
from berlin.formats.decoding import EventDecoder
from berlin.language.tables.chat import ChatMap, FormatName
from berlin.types import ChatResponse, TextDelta
from berlin.types.accumulate import Accumulator
from berlin.wire.framings import Framing, recognise
from berlin.wire.snippet import snippet
from berlin.workbench.draft.sources.captured import Exchange

_NAMES: tuple[FormatName, ...] = (
    "openai-chat",
    "openai-responses",
    "anthropic-messages",
    "ollama-chat",
)


class Pieces(msgspec.Struct, frozen=True):
    """An answer in pieces.

    Attributes:
        documents: the objects, as decoded by the framing.
        done: the data of the event that marks the end; `""` if there is none.
    """

    framing: Framing
    documents: list[Any]
    done: str = ""

    @property
    def is_one(self) -> bool:
        """Whether the answer is a single piece: a document, or text."""
        return self.framing.is_single or self.framing.has_text_only


def cut_answer(answer: bytes) -> Pieces:
    """Return the pieces of an answer. Raises ConfigurationError."""
    looks = recognise(answer)
    if looks.is_page:
        raise ConfigurationError(
            f"the answer is a web page, not an answer of a chat: {snippet(answer, 80)!r}"
        )
    if looks.framing is None:
        raise ConfigurationError("the answer is empty: copy it when it is whole")
    if not looks.read.is_whole:
        raise ConfigurationError(
            "the answer begins as JSON, but is neither one document nor one object a line; "
            f"was it copied whole? It ends with {snippet(answer[-80:], 80)!r}"
        )
    if not looks.read.documents:
        raise ConfigurationError("the answer has server-sent events without data")
    return Pieces(looks.framing, looks.read.documents, looks.read.done)


def read_answer(decoder: EventDecoder, answer: bytes) -> ChatResponse:
    """Return an answer as a decoder reads it. Raises BerlinError."""
    read = Accumulator()
    read.add_all([*decoder.feed(answer), *decoder.finish()])
    if decoder.failure is not None:
        raise decoder.failure
    return read.response()


class KnownGuess(msgspec.Struct, frozen=True):
    """A chat in a built-in format.

    Attributes:
        base: the path of the base URL.
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
