"""The interface of a framing: one way to split an answer into JSON documents, and to write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from berlin.errors import ProtocolError
from berlin.wire.json import decoded_or_none

MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
"""The longest document that is buffered."""

BOM = b"\xef\xbb\xbf"

NOT_UTF8 = b"not UTF-8"
"""Replaces bytes that are not UTF-8; as it is not JSON, decoding fails after what came before."""


class Framer(Protocol):
    """Turns the bytes of an answer into JSON documents, at any chunk boundaries.

    Attributes:
        done: whether the end marker was seen; what follows is not read.
    """

    done: bool

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the documents that they complete.

        Raises:
            ProtocolError: if a document exceeds the limit, or the framing is malformed.
        """
        ...

    def finish(self) -> list[bytes]:
        """Take the end of the answer and return the remaining documents."""
        ...


class Writer(Protocol):
    """Writes the documents of one answer."""

    def write(self, document: dict[str, Any]) -> bytes:
        """Return one document as bytes."""
        ...

    def end(self) -> bytes:
        """Return the bytes that end the answer."""
        ...


class PlainWriter:
    """Writes each document in the same way; see `Writer`.

    Args:
        write: writes one document.
        end: the bytes that end the answer; by default the end of the body is the end.
    """

    def __init__(self, write: Callable[[dict[str, Any]], bytes], end: bytes = b"") -> None:
        self.write = write
        self._end = end

    def end(self) -> bytes:
        """Return the bytes that end the answer."""
        return self._end


class Recognised(msgspec.Struct, frozen=True):
    """An answer as read by one framing.

    Attributes:
        done: the data of the event that marks the end; `""` if there is none.
        is_whole: whether the whole answer could be read.
    """

    documents: list[Any]
    done: str = ""
    is_whole: bool = True


def read_by(framer: Framer, body: bytes) -> Recognised | None:
    """Return a recorded answer as a new framer reads it, or `None` if that finds no objects."""
    try:
        documents = [decoded_or_none(document) for document in framer.feed(body)]
    except ProtocolError:
        return None
    if not documents or not all(isinstance(document, dict) for document in documents):
        return None
    return Recognised(documents, is_whole=not framer.finish())


class Framing(msgspec.Struct, frozen=True):
    """One framing.

    Attributes:
        name: its name in a recipe.
        content_type: the content type of an answer.
        in_words: a description for display.
        new_framer: makes a framer for one answer. If there are events, it is given the data of the
            server-sent event that ends an answer, such as `[DONE]`, and so is `new_writer`.
        new_writer: makes a writer for one answer.
        recognise: returns a recorded answer as read by this framing, or `None` if it does not fit.
            The answer has no byte order mark and leading white space, is not empty, and may have
            been cut off.
        keep_alive: bytes that have no meaning; `b""` if there are none.
        is_plain: whether text is written the same way at any position, so that the bytes around it
            can be prepared once.
        is_single: whether the whole body is one document.
        has_text_only: whether it carries text and nothing else.
        has_events: whether it is made of server-sent events, which can mark the end.
        document_end: the bytes after which the next document begins, if they are within none; `b""`
            if there are none, or if documents are not JSON as it was sent.
    """

    name: str
    content_type: str
    in_words: str
    new_framer: Callable[..., Framer]
    new_writer: Callable[..., Writer]
    recognise: Callable[[bytes], Recognised | None]
    keep_alive: bytes = b""
    is_plain: bool = False
    is_single: bool = False
    has_text_only: bool = False
    has_events: bool = False
    document_end: bytes = b""

    def framer(self, done_marker: bytes = b"") -> Framer:
        """Return a framer for one answer."""
        return self.new_framer(done_marker) if self.has_events else self.new_framer()

    def writer(self, done_marker: bytes = b"") -> Writer:
        """Return a writer for one answer."""
        return self.new_writer(done_marker) if self.has_events else self.new_writer()
