"""Framings: turn a streamed answer, however it is framed, into JSON documents.

A new framing is a file, a line in `FRAMINGS` and its name in `FramingName`.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

import msgspec

from berlin.wire.framings.aws import AWS_EVENTS
from berlin.wire.framings.connect import CONNECT
from berlin.wire.framings.contract import BOM, Framer, Framing, Recognised, Writer
from berlin.wire.framings.events import EVENTS, NAMED_EVENTS, TEXT_EVENTS
from berlin.wire.framings.json import JSON, JSON_ARRAY
from berlin.wire.framings.lengths import LENGTH_PREFIXED
from berlin.wire.framings.lines import NDJSON
from berlin.wire.framings.multipart import MULTIPART
from berlin.wire.framings.tagged import TAGGED_LINES
from berlin.wire.framings.text import TEXT

FramingName: TypeAlias = Literal[
    "ndjson",
    "sse",
    "sse-events",
    "sse-text",
    "json",
    "json-array",
    "text",
    "aws-events",
    "connect",
    "length-prefixed",
    "multipart",
    "tagged-lines",
]

# In the order in which they are recognised: more specific ones come first.
_ALL = (
    AWS_EVENTS,
    CONNECT,
    MULTIPART,
    LENGTH_PREFIXED,
    EVENTS,
    NAMED_EVENTS,
    TEXT_EVENTS,
    TAGGED_LINES,
    JSON_ARRAY,
    JSON,
    NDJSON,
    TEXT,
)

FRAMINGS: dict[str, Framing] = {framing.name: framing for framing in _ALL}
"""All framings by their names in a recipe."""


class RecognisedAnswer(msgspec.Struct, frozen=True):
    """The framing recognised in a recorded answer.

    Attributes:
        framing: the framing that can read it; `None` if there is none.
        read: the answer as read by that framing.
        is_page: whether it is a page for a browser.
    """

    framing: Framing | None
    read: Recognised
    is_page: bool = False


def recognise(body: bytes) -> RecognisedAnswer:
    """Recognise the framing of a recorded answer, which may have been cut off."""
    head = body.removeprefix(BOM).lstrip()
    if not head:
        return RecognisedAnswer(None, Recognised([]))
    if _PAGE.match(head):
        return RecognisedAnswer(None, Recognised([]), is_page=True)
    for framing in _ALL:
        read = framing.recognise(head)
        if read is not None:
            return RecognisedAnswer(framing, read)
    raise AssertionError("text takes everything that is not JSON, json what begins as an object")


_PAGE = re.compile(rb"<(?:!doctype|html|head|body|\?xml)\b", re.IGNORECASE)

__all__ = [
    "FRAMINGS",
    "Framer",
    "Framing",
    "FramingName",
    "Recognised",
    "RecognisedAnswer",
    "Writer",
    "recognise",
]
