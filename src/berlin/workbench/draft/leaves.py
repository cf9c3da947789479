"""The values of a JSON document, by their place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from berlin.wire.pointer import MAX_SEGMENTS

Place: TypeAlias = tuple[str, ...]

GUESS = "check this"
"""The comment on a line that is a guess."""

DROP = object()
"""Returned by a change to leave a value out."""


def leaves(tree: Any, above: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Yield every value that is neither an object nor a list, including null.

    What is nested deeper than a pointer can reach is left out.
    """
    if len(above) > MAX_SEGMENTS:
        return
    match tree:
        case dict():
            for name, value in tree.items():
                yield from leaves(value, (*above, name))
        case list():
            for n, value in enumerate(tree):
                yield from leaves(value, (*above, str(n)))
        case _:
            yield above, tree


def change_leaves(tree: Any, change: Callable[[Place, Any], Any], above: Place = ()) -> Any:
    """Return a copy with `change(place, value)` for each value; `DROP` leaves it out."""
    match tree:
        case dict():
            pairs = ((name, change_leaves(v, change, (*above, name))) for name, v in tree.items())
            return {name: value for name, value in pairs if value is not DROP}
        case list():
            items = [change_leaves(v, change, (*above, str(n))) for n, v in enumerate(tree)]
            return [value for value in items if value is not DROP]
        case _:
            return change(above, tree)


def pointer(place: Place) -> str:
    """Return a JSON Pointer."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in place)


def plain(name: str) -> str:
    """Return a name in snake case: `parentMessageId` is `parent_message_id`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def last_name(place: Place) -> str:
    """Return the plain name of the member that a place is in; `""` within a bare list."""
    return plain(next((part for part in reversed(place) if not part.isdecimal()), ""))
