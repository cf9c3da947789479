"""JSON Pointer (RFC 6901): the way a recipe names a value in an answer.

Three segments extend the RFC, where there is no member or item of that name: `*` is each item of a
list, or each member of an object; `-1` is the last item of a list; and `?name=value` (or
`?name!=value`, or `?name`) continues only in an object whose member satisfies it; the name may be
a path, `?from~1id=bot`. The texts of several values are joined; of other values the first counts.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import msgspec

from berlin.errors import ConfigurationError

MAX_SEGMENTS = 64
_TEST = re.compile(r"\?([^=!?]{1,80}?)(?:(!?=)(.{0,200}))?", re.DOTALL)
_SOME = ("*", "-1")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


class Missing:
    """The type of `MISSING`: there is no value at the pointer."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing()


def parse_pointer(text: str) -> tuple[str, ...]:
    """Return the segments of a pointer.

    Raises:
        ConfigurationError: if it is not a pointer, or points to the whole document.
    """
    if not text.startswith("/") or re.search(r"~(?![01])", text):
        raise ConfigurationError(
            f"{text[:80]!r} is not a JSON Pointer; write it like /data/token (with ~0 for '~')"
        )
    if text.count("/") > MAX_SEGMENTS:
        raise ConfigurationError(f"{text[:40]!r}… has more than {MAX_SEGMENTS} segments")
    segments = tuple(s.replace("~1", "/").replace("~0", "~") for s in text[1:].split("/"))
    for segment in segments:
        if segment.startswith("?") and not _TEST.fullmatch(segment):
            raise ConfigurationError(
                f"{segment[:80]!r} is not a condition; write ?name=value, ?name!=value or ?name"
            )
    if segments[-1].startswith("?"):
        raise ConfigurationError(f"{text[:80]!r} ends with a condition; name a value after it")
    return segments


def check_pointers(*pointers: str) -> None:
    """Check pointers of a table; an empty one is left out.

    Raises:
        ValueError: because msgspec adds the place in the recipe only to this error.
    """
    for pointer in filter(None, pointers):
        try:
            parse_pointer(pointer)
        except ConfigurationError as error:
            raise ValueError(error.message) from error


def is_special(pointer: tuple[str, ...]) -> bool:
    """Return whether a pointer has a segment that extends the RFC."""
    return any(segment in _SOME or segment.startswith("?") for segment in pointer)


def is_index(segment: str) -> bool:
    """Return whether a segment can be an item's index."""
    return _INDEX.fullmatch(segment) is not None


def get_at(document: Any, pointer: tuple[str, ...]) -> Any:
    """Return the value at a pointer, or `MISSING`."""
    whole = document
    for segment in pointer:
        if isinstance(document, dict) and segment in document:
            document = document[segment]
        elif isinstance(document, list) and is_index(segment) and int(segment) < len(document):
            document = document[int(segment)]
        else:
            return _joined(_select(whole, pointer)) if is_special(pointer) else MISSING
    return document


def _select(document: Any, pointer: tuple[str, ...]) -> list[Any]:
    """Return all values that a pointer with conditions finds."""
    found = [document]
    for segment in pointer:
        below: list[Any] = []
        for value in found:
            if isinstance(value, dict) and segment in value:
                below.append(value[segment])
            elif segment == "*" and isinstance(value, list | dict):
                below += value if isinstance(value, list) else value.values()
            elif segment.startswith("?") and isinstance(value, dict):
                below += [value] if _holds(segment, value) else []
            elif segment == "-1" and isinstance(value, list):
                below += value[-1:]
            elif isinstance(value, list) and is_index(segment) and int(segment) < len(value):
                below.append(value[int(segment)])
        found = below
    return found


def _joined(values: list[Any]) -> Any:
    texts = [value for value in values if isinstance(value, str)]
    if texts:
        return "".join(texts)
    return next((value for value in values if value is not None), values[0] if values else MISSING)


@lru_cache(maxsize=1024)
def _test(segment: str) -> tuple[str, str, Any]:
    """Return the parts of a condition: the member, the comparison and the value."""
    found = _TEST.fullmatch(segment)
    if found is None:
        return segment[1:], "", None
    word = found[3] or ""
    try:
        value = msgspec.json.decode(word)
    except msgspec.DecodeError:
        value = word
    return found[1], found[2] or "", value


def _holds(segment: str, value: dict[str, Any]) -> bool:
    name, how, wanted = _test(segment)
    found = value[name] if name in value else get_at(value, tuple(name.split("/")))
    if not how:
        return found not in (None, MISSING, False, "", [], {})
    return (found == wanted and type(found) is type(wanted)) == (how == "=")


def first_at(document: Any, pointers: tuple[tuple[str, ...], ...]) -> Any:
    """Return the first value that is present and not null, or `MISSING`."""
    for pointer in pointers:
        value = get_at(document, pointer)
        if value is not MISSING and value is not None:
            return value
    return MISSING


def set_at(document: Any, pointer: tuple[str, ...], value: Any) -> None:
    """Put a value at a pointer, creating the objects and lists on the way."""
    for n, segment in enumerate(pointer):
        if segment.startswith("?") and isinstance(document, dict):
            name, how, wanted = _test(segment)
            if how != "!=" and not _holds(segment, document):
                set_at(document, tuple(name.split("/")), wanted if how else True)
            return set_at(document, pointer[n + 1 :], value)
        segment = "0" if segment in _SOME else segment
        below = next((s for s in pointer[n + 1 :] if not s.startswith("?")), None)
        is_object = n + 1 < len(pointer) and pointer[n + 1].startswith("?")
        found = get_at(document, (segment,))
        if below is None:
            found = value
        elif not isinstance(found, dict | list):
            found = {} if is_object else [] if below in _SOME or is_index(below) else {}
        if isinstance(document, list):
            document.extend([None] * (int(segment) + 1 - len(document)))
            document[int(segment)] = found
        else:
            document[segment] = found
        document = found
    return None
