"""The actual answers of a service, and where their values are."""

from __future__ import annotations

from typing import Any

import msgspec

from berlin.errors import ProtocolError
from berlin.language.tables.stream import StreamMap
from berlin.wire.framings import FRAMINGS, FramingName, RecognisedAnswer
from berlin.wire.json import DECODE_ERRORS
from berlin.wire.pointer import MISSING, get_at, parse_pointer
from berlin.workbench.draft.answer import candidates
from berlin.workbench.draft.ending import REASONS
from berlin.workbench.draft.leaves import Place, last_name, leaves, pointer

MAX_DOCUMENTS = 500


def documents(stream: StreamMap, body: bytes) -> list[Any]:
    """Return the JSON objects that the framing finds in a body."""
    framer = FRAMINGS[stream.framing].framer(stream.done.encode())
    try:
        lines = framer.feed(body) + framer.finish()
    except ProtocolError:
        return []
    found: list[Any] = []
    for line in lines:
        if not line.strip():
            continue
        if len(found) == MAX_DOCUMENTS:
            break
        try:
            found.append(msgspec.json.decode(line))
        except DECODE_ERRORS:
            break
    return found


def fits(framing: FramingName, looks: RecognisedAnswer, body: bytes) -> bool:
    """Return whether a framing can decode a body that looks like this."""
    if looks.framing is None:
        return False
    if looks.framing.name == "sse":  # event names may be read too
        return framing in ("sse", "sse-events")
    if looks.framing.name == "json" and framing == "ndjson":
        return b"\n" not in body.strip()  # one object is also one line of objects
    return framing == looks.framing.name


def found_at(pointers: str | list[str], document: Any) -> Any:
    """Return the first value found by any of the pointers, or `MISSING`."""
    for place in listed(pointers):
        value = get_at(document, parse_pointer(place))
        if value is not MISSING and value is not None:
            return value
    return MISSING


def listed(pointers: str | list[str]) -> list[str]:
    """Return pointers as a list, in whichever form the recipe has them."""
    return [pointers] if isinstance(pointers, str) else list(pointers)


def text_pointers(received: list[Any]) -> list[str]:
    """Return where the text may be in the documents of an answer, the likeliest first.

    A piece of an answer differs from object to object; an id or a model's name does not.
    """
    found = candidates(received)
    # Others are unlikely, and would hide the likely one among them.
    return [pointer(each.place) for each in found if each.score * 2 > found[0].score]


def reason_pointers(received: list[Any]) -> list[str]:
    """Return where the finish reason may be, the likeliest first."""
    names: dict[Place, int] = {}
    for document in received[-3:]:
        for place, value in leaves(document):
            if last_name(place) in REASONS and value not in (None, "", False):
                names.setdefault(place, REASONS.index(last_name(place)))
    return [pointer(place) for place in sorted(names, key=lambda place: names[place])]


def outline(document: Any, limit: int = 8) -> str:
    """Return the structure of a document without its values."""
    pointers = [pointer(place) for place, _ in leaves(document) if place]
    shown = ", ".join(pointers[:limit])
    return f"{shown}, …" if len(pointers) > limit else shown or "nothing"
