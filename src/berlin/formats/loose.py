"""Lenient parsing of secondary members as services actually type them: unreadable is unknown.

A count as text, a list instead of an object, a `false` instead of `null`: none of these may cost
the answer's text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def read_usage(
    usage: Any, dialect: str, names: tuple[str, str], details: Mapping[str, tuple[str, str]]
) -> Usage | None:
    """Return the counts in a usage object, or `None` if it has none.

    Args:
        usage: the object, or whatever is there instead.
        dialect: whose object it is.
        names: of the tokens of the request and of the answer.
        details: by our name of a count, the path of members to it.
    """
    fields = as_object(usage)
    asked, answered = (as_count(fields.get(name)) for name in names)
    if asked is None and answered is None:
        return None
    more: dict[str, Any] = {
        ours: as_count(as_object(fields.get(group)).get(name)) or 0
        for ours, (group, name) in details.items()
    }
    rest = {
        name: value
        for name, value in fields.items()
        if name not in names and value is not None and _is_sound(name, value)
    }
    return Usage(asked or 0, answered or 0, **more, extra=make_extra(dialect, rest))


def _is_sound(name: str, value: Any) -> bool:
    """Return whether a member of a usage object has the type that its name promises."""
    if name.endswith(("_details", "_breakdown")):
        return isinstance(value, dict)
    return not name.endswith("_tokens") or as_count(value) is not None
