"""The actual answers of a service, and where their values are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from berlin.errors import ProtocolError
from berlin.language.tables.stream import StreamMap
from berlin.wire.framings import FRAMINGS, FramingName, RecognisedAnswer
from berlin.wire.json import DECODE_ERRORS
from berlin.wire.pointer import MISSING, get_at, parse_pointer

MAX_DOCUMENTS = 500
MAX_DEPTH = 8

_TEXT_NAMES = (
    *("content", "text", "delta", "answer", "token", "response", "message", "reply", "output"),
    *("completion", "generated_text", "chunk", "data", "result", "value", "parts", "v", "t"),
)
_REASON_NAMES = (
    *("finish_reason", "finishreason", "stop_reason", "stopreason", "done_reason", "reason"),
    *("finished", "done", "is_end", "isend", "end", "status", "state"),
)


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
    for pointer in listed(pointers):
        value = get_at(document, parse_pointer(pointer))
        if value is not MISSING and value is not None:
            return value
    return MISSING


def listed(pointers: str | list[str]) -> list[str]:
    """Return pointers as a list, in whichever form the recipe has them."""
    return [pointers] if isinstance(pointers, str) else list(pointers)


def leaves(document: Any, above: str = "", depth: int = MAX_DEPTH) -> Iterator[tuple[str, Any]]:
    """Yield the leaf values of a document with their pointers."""
    items: list[tuple[str, Any]] = []
    if isinstance(document, dict):
        items = [(key.replace("~", "~0").replace("/", "~1"), v) for key, v in document.items()]
    elif isinstance(document, list):
        items = [(str(n), value) for n, value in enumerate(document[:3])]
    if not items or not depth:
        yield above, document
        return
    for segment, value in items:
        yield from leaves(value, f"{above}/{segment}", depth - 1)


def text_pointers(received: list[Any]) -> list[str]:
    """Return where the text may be in the documents of an answer, the likeliest first.

    A piece of an answer differs from object to object; an id or a model's name does not.
    """
    values: dict[str, list[str]] = {}
    for document in received:
        for pointer, value in leaves(document):
            if isinstance(value, str) and value and pointer:
                values.setdefault(pointer, []).append(value)
    ranked = sorted(values.items(), key=lambda item: _text_rank(*item))
    return [pointer for pointer, found in ranked if _text_rank(pointer, found) < (9,)]


def reason_pointers(received: list[Any]) -> list[str]:
    """Return where the finish reason may be, the likeliest first."""
    names: dict[str, int] = {}
    for document in received[-3:]:
        for pointer, value in leaves(document):
            name = _last_name(pointer)
            if name in _REASON_NAMES and value not in (None, "", False):
                names.setdefault(pointer, _REASON_NAMES.index(name))
    return sorted(names, key=lambda pointer: names[pointer])


def outline(document: Any, limit: int = 8) -> str:
    """Return the structure of a document without its values."""
    pointers = [pointer for pointer, _ in leaves(document) if pointer]
    shown = ", ".join(pointers[:limit])
    return f"{shown}, …" if len(pointers) > limit else shown or "nothing"


def _text_rank(pointer: str, found: list[str]) -> tuple[int, ...]:
    name = _last_name(pointer)
    known = _TEXT_NAMES.index(name) if name in _TEXT_NAMES else len(_TEXT_NAMES)
    varies = len(set(found)) > 1 or any(" " in value for value in found)
    if not varies and known == len(_TEXT_NAMES):
        return (9,)
    return (0 if known < len(_TEXT_NAMES) and varies else 1, known, -sum(map(len, found)))


def _last_name(pointer: str) -> str:
    names = [segment for segment in pointer.split("/") if not segment.isdecimal()]
    return names[-1].lower() if names else ""
