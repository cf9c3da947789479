"""Lenient reading of what services send: documents that are not quite JSON, and members of other
types than they should have.

A count as text, a list instead of an object, a `false` instead of `null`: none of these may cost
the answer's text, which is never guessed at. What cannot be read is unknown.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Container, Mapping
from typing import Any, TypeAlias

from berlin.types import Usage, make_extra
from berlin.types.usage import Half, half_without


def as_object(value: Any) -> Mapping[str, Any]:
    """Return an object; anything else is an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return a list; an object is the list of its values, as PHP writes lists with gaps."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """Return text; anything else is none."""
    return value if isinstance(value, str) else ""


def as_id(value: Any) -> str:
    """Return an id, which some services write as a number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return as_text(value)


def as_index(value: Any) -> int | None:
    """Return an index, which some services write as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:9])
    return as_count(value)


def as_count(value: Any) -> int | None:
    """Return a count, or `None` if invalid."""
    match value:
        case bool():
            return None
        case int() if value >= 0:
            return value
        case float() if value >= 0 and value.is_integer() and value < 2**53:
            return int(value)
        case str() if value.isascii() and value.isdigit() and len(value) <= 15:
            return int(value)
    return None


def others(members: Mapping[Any, Any], known: Container[str]) -> dict[str, Any]:
    """Return the members that are neither known nor null."""
    return {n: value for n, value in members.items() if n not in known and value is not None}


Paths: TypeAlias = tuple[tuple[str, ...], ...]
"""Places where services write one count: the path of members to each, the usual one first."""


def read_usage(
    usage: Any, dialect: str, asked: Paths, answered: Paths, details: Mapping[str, Paths]
) -> Usage | None:
    """Return the counts in a usage object, or `None` if it has none.

    Args:
        usage: the object, or whatever is there instead.
        dialect: whose object it is.
        asked: the places of the tokens of the request.
        answered: the places of the tokens of the answer.
        details: by our name of a count, its places.
    """
    fields = as_object(usage)
    sent, made = _count_at(fields, asked), _count_at(fields, answered)
    if sent is None and made is None:
        return None
    total = as_count(fields.get("total_tokens"))
    lacks: Half | None = None
    if sent is None or made is None:
        if total is not None:
            rest = max(total - (sent or made or 0), 0)
            sent, made = rest if sent is None else sent, rest if made is None else made
        else:
            lacks = half_without(sent, made)
    more: dict[str, Any] = {ours: _count_at(fields, paths) for ours, paths in details.items()}
    known = (asked[0][0], answered[0][0])
    others = {
        name: value
        for name, value in fields.items()
        if name not in known and value is not None and _is_sound(name, value)
    }
    return Usage(sent or 0, made or 0, **more, extra=make_extra(dialect, others), lacks=lacks)


def _count_at(fields: Mapping[str, Any], paths: Paths) -> int | None:
    for *groups, name in paths:
        holder = fields
        for group in groups:
            holder = as_object(holder.get(group))
        if (count := as_count(holder.get(name))) is not None:
            return count
    return None


def _is_sound(name: str, value: Any) -> bool:
    """Return whether a member of a usage object has the type that its name promises."""
    if name.endswith(("_details", "_breakdown")):
        return isinstance(value, dict)
    return not name.endswith("_tokens") or as_count(value) is not None


class JsonRepairer:
    """Repairs the documents of one answer.

    A pair of surrogates that was cut between two pieces of text is joined; half a pair, and bytes
    that are not UTF-8, become U+FFFD. Control characters within strings are taken as they are, but
    not NUL, and numbers that no type holds as `null`. A prefix `data:` that a proxy has doubled is
    removed.
    """

    def __init__(self) -> None:
        self._high = ""

    @property
    def holds_half(self) -> bool:
        """Whether a text ended with half of a pair, and the other half has not come."""
        return bool(self._high)

    def repair(self, document: bytes) -> Any:
        """Return the value of a document that is not JSON; `None` if it cannot be repaired."""
        if b"\0" in document:
            return None  # bytes were lost or mixed up on the way
        text = document.decode("utf-8", "replace").strip()
        if text.startswith("data:"):
            text = text.removeprefix("data:")
        try:
            return json.loads(
                _ESCAPE.sub(self._join, text),
                strict=False,
                parse_float=finite_or_none,
                parse_int=bounded_or_none,
                parse_constant=lambda _: None,
            )
        except (ValueError, RecursionError):
            return None

    def _join(self, escape: re.Match[str]) -> str:
        high, low = escape["high"], escape["low"]
        if high is None and low is None:
            return escape[0]  # any other escape, or a whole pair
        text = escape.string
        if low is not None:
            joined, self._high = self._high, ""
            is_first = text[escape.start() - 1] == '"'
            return joined + escape[0] if joined and is_first else _UNKNOWN
        if text[escape.end() : escape.end() + 1] == '"':
            self._high = escape[0]  # its other half is in the next piece
            return ""
        return _UNKNOWN


_UNKNOWN = "\\ufffd"
_HIGH, _LOW = r"u[dD][89abAB][0-9a-fA-F]{2}", r"u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(rf"\\(?:{_HIGH}\\{_LOW}|(?P<high>{_HIGH})|(?P<low>{_LOW})|.)", re.DOTALL)


def finite_or_none(text: str) -> float | None:
    """Return a JSON number; `None` if no float holds it."""
    value = float(text)
    return value if math.isfinite(value) else None


def bounded_or_none(text: str) -> int | None:
    """Return a JSON integer; `None` if it is absurdly long."""
    return int(text) if len(text) < 309 else None
