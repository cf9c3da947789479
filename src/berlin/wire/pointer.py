"""JSON Pointer (RFC 6901): the only way in which a recipe names a value in an answer."""

from __future__ import annotations

import re
from typing import Any, Final

from berlin.errors import ConfigurationError

MAX_SEGMENTS = 64
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


class Missing:
    """The type of `MISSING`: no value stands at the pointer."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing()


def parse_pointer(text: str) -> tuple[str, ...]:
    """Return the segments of a pointer.

    Raises:
        ConfigurationError: if it is not a pointer, or points at the whole document.
    """
    if not text.startswith("/") or re.search(r"~(?![01])", text):
        raise ConfigurationError(
            f"{text[:80]!r} is not a JSON Pointer; write it like /data/token ('~' is written ~0)"
        )
    if text.count("/") > MAX_SEGMENTS:
        raise ConfigurationError(f"{text[:40]!r}… has more than {MAX_SEGMENTS} segments")
    return tuple(segment.replace("~1", "/").replace("~0", "~") for segment in text[1:].split("/"))


def is_index(segment: str) -> bool:
    """Tell whether a segment can be the number of an item."""
    return _INDEX.fullmatch(segment) is not None


def get_at(document: Any, pointer: tuple[str, ...]) -> Any:
    """Return the value at a pointer, or `MISSING`."""
    for segment in pointer:
        if isinstance(document, dict):
            if segment not in document:
                return MISSING
            document = document[segment]
        elif isinstance(document, list):
            if not is_index(segment) or int(segment) >= len(document):
                return MISSING
            document = document[int(segment)]
        else:
            return MISSING
    return document


def first_at(document: Any, pointers: tuple[tuple[str, ...], ...]) -> Any:
    """Return the first value that is present and not null, or `MISSING`."""
    for pointer in pointers:
        value = get_at(document, pointer)
        if value is not MISSING and value is not None:
            return value
    return MISSING


def set_at(document: Any, pointer: tuple[str, ...], value: Any) -> None:
    """Put a value at a pointer, making the objects and lists on the way."""
    for segment, below in zip(pointer, (*pointer[1:], None), strict=True):
        found = get_at(document, (segment,))
        if below is None:
            found = value
        elif not isinstance(found, dict | list):
            found = [] if is_index(below) else {}
        if isinstance(document, list):
            document.extend([None] * (int(segment) + 1 - len(document)))
            document[int(segment)] = found
        else:
            document[segment] = found
        document = found
