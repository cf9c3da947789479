"""Lenient parsing of secondary members as services actually type them: unreadable is unknown.

A count as text, a list instead of an object, a `false` instead of `null`: none of these may cost
the answer's text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from berlin.types import Usage, make_extra


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
    total = as_count(fields.get("total_tokens")) or 0
    if sent is None:
        sent = max(total - (made or 0), 0)
    if made is None:
        made = max(total - sent, 0)
    more: dict[str, Any] = {ours: _count_at(fields, paths) or 0 for ours, paths in details.items()}
    known = (asked[0][0], answered[0][0])
    rest = {
        name: value
        for name, value in fields.items()
        if name not in known and value is not None and _is_sound(name, value)
    }
    return Usage(sent, made, **more, extra=make_extra(dialect, rest))


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
