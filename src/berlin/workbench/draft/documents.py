"""Cuts a recorded answer into its documents, and reads it."""

from __future__ import annotations

from typing import Any

import msgspec

from berlin.errors import ConfigurationError
from berlin.formats.contract import EventDecoder
from berlin.types import ChatResponse
from berlin.types.accumulate import Accumulator
from berlin.wire.framings import Framing, recognise
from berlin.wire.snippet import snippet


class Pieces(msgspec.Struct, frozen=True):
    """An answer in pieces.

    Attributes:
        framing: the framing.
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
    """Return the pieces of an answer.

    Raises:
        ConfigurationError: if no recipe can describe it.
    """
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
    for event in (*decoder.feed(answer), *decoder.finish()):
        read.add(event)
    if decoder.failure is not None:
        raise decoder.failure
    return read.response()
