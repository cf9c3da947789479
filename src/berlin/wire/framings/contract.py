"""The interface of a framing: one way to split an answer into JSON documents, and to write them."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

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
        """Take the end of the answer and return what is left."""
        ...


class Writer(Protocol):
    """Writes the documents of one answer."""

    def write(self, document: dict[str, Any]) -> bytes:
        """Return one document as bytes."""
        ...

    def end(self) -> bytes:
        """Return the bytes that end the answer."""
        ...


class Recognised(msgspec.Struct, frozen=True):
    """An answer as read by one framing.

    Attributes:
        documents: the documents, decoded.
        done: the data of the event that marks the end; `""` if there is none.
        is_whole: whether the whole answer could be read.
    """

    documents: list[Any]
    done: str = ""
    is_whole: bool = True


class Framing(Protocol):
    """One framing; a new one inherits this, and says only what differs from the defaults.

    Attributes:
        name: its name in a recipe.
        content_type: the content type of an answer.
        in_words: a description for display.
        keep_alive: bytes that have no meaning; `b""` if there are none.
        is_plain: whether text is written the same way at any position, so that the bytes around it
            can be prepared once.
        is_single: whether the whole body is one document.
        has_text_only: whether it carries text and nothing else.
        has_events: whether it is made of server-sent events, which can mark the end.
    """

    name: str
    content_type: str
    in_words: str
    keep_alive: bytes = b""
    is_plain: bool = False
    is_single: bool = False
    has_text_only: bool = False
    has_events: bool = False

    def framer(self, done_marker: bytes = b"") -> Framer:
        """Return a framer for one answer.

        Args:
            done_marker: the data of the server-sent event that ends an answer, such as `[DONE]`.
        """
        ...

    def writer(self, done_marker: bytes = b"") -> Writer:
        """Return a writer for one answer."""
        ...

    def recognise(self, body: bytes) -> Recognised | None:
        """Return a recorded answer as read by this framing, or `None` if it does not fit.

        Args:
            body: the answer, without a byte order mark and leading white space; not empty. It may
                have been cut off.
        """
        ...
