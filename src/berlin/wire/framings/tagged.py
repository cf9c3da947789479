"""Lines of JSON that each begin with a tag, as the data stream of Vercel's AI SDK has it."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import msgspec

from berlin.wire.framings.contract import Framing, PlainWriter, Recognised
from berlin.wire.framings.lines import LineFramer
from berlin.wire.json import decoded_or_none, encode_line

_LINE = re.compile(rb"\s*([A-Za-z0-9_-]{1,16}):(.*)", re.DOTALL)
_TAGGED = re.compile(rb"[a-z0-9]{1,2}:([\"{\[].*)", re.DOTALL)
_JSON = b'"{[-0123456789tfn'


class TaggedFramer(LineFramer):
    """Returns each line `0:"text"` as `{"event": "0", "data": "text"}`; see `Framer`."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the documents completed so far; see `Framer`."""
        return [_document(line) for line in super().feed(data)]

    def finish(self) -> list[bytes]:
        """Return a last line without LF; see `Framer`."""
        return [_document(line) for line in super().finish()]


def _document(line: bytes) -> bytes:
    found = _LINE.fullmatch(line)
    if found is None:
        return line  # an error as an object, or nothing that this framing knows
    value = found[2].strip()
    if value[:1] not in _JSON or not value:
        value = msgspec.json.encode(value.decode("utf-8", "replace"))
    return b'{"event":"%b","data":%b}' % (found[1], value)


def _write(document: dict[str, Any]) -> bytes:
    tag = str(document.get("event", "0")).encode()
    return b"%b:%b\n" % (tag, encode_line(document.get("data")))


def _recognise(body: bytes) -> Recognised | None:
    """Recognise lines that all have a short tag and JSON."""
    lines = [line for line in body.split(b"\n") if line.strip()]
    found = [_TAGGED.fullmatch(line) for line in lines[:-1] or lines]
    # A prose line may have a colon too.
    if any(line is None or decoded_or_none(line[1]) is None for line in found):
        return None
    documents = [decoded_or_none(_document(line)) for line in lines]
    whole = [document for document in documents if isinstance(document, dict)]
    return Recognised(whole, is_whole=len(whole) == len(lines))


TAGGED_LINES = Framing(
    "tagged-lines",
    "text/plain",
    'lines of JSON after a tag, such as 0:"text", as objects {"event": tag, "data": …}',
    TaggedFramer,
    partial(PlainWriter, _write),
    _recognise,
    keep_alive=b"\n",
)
