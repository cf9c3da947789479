"""The values of a JSON document, by their place."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, TypeAlias

from berlin.wire.json import decoded_or_none
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


def without_null(tree: Any) -> Any:
    """Return a copy without the members and items that are null."""
    return change_leaves(tree, lambda _, value: DROP if value is None else value)


def json_in(text: str) -> Any:
    """Return the object or list that a text is, as JSON; `None` if it is another text."""
    found = decoded_or_none(text.encode("utf-8", "replace")) if text[:1] in ("{", "[") else None
    return found if isinstance(found, dict | list) else None


def texts_in(tree: Any) -> Iterator[str]:
    """Yield the texts of a document, and those of the JSON in them."""
    for _, value in leaves(tree):
        if isinstance(value, str):
            yield value
            if (inner := json_in(value)) is not None:
                yield from texts_in(inner)


def said_as(prompt: str, texts: Iterable[str]) -> str:
    """Return a prompt as the first text that contains it writes it; `""` if none does.

    A browser may send another Unicode form, other line ends, or no blanks around it.
    """
    forms = [prompt, prompt.strip(), prompt.replace("\n", "\r\n")]
    forms += [unicodedata.normalize(form, prompt) for form in ("NFC", "NFD")]
    found = (form for text in texts for form in forms if form in text or quoted(form) in text)
    return next(filter(None, found), "")


def quoted(text: str) -> str:
    """Return a text as JSON."""
    return json.dumps(text, ensure_ascii=False)


def pointer(place: Place) -> str:
    """Return a JSON Pointer."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in place)


def plain(name: str) -> str:
    """Return a name without case and punctuation: `parentMessageId` is `parentmessageid`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


@lru_cache(maxsize=4096)
def last_name(place: Place) -> str:
    """Return the plain name of the member that a place is in; `""` within a bare list.

    That of the form member `user[email]` is `email`.
    """
    return plain(member(place).removesuffix("]").rpartition("[")[2])


def member(place: Place) -> str:
    """Return the name of the member that a place is in; `""` within a bare list."""
    return next((part for part in reversed(place) if not part.isdecimal()), "")
