"""Headers with placeholders: no value can add a cookie, a parameter or a list item of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berlin.errors import InvalidRequestError
from berlin.language.values.text import Piece, Value, names_in, parse_text, render_text

# What separates the cookies of a request, or is not allowed in one (RFC 6265, 4.1.1).
_OF_COOKIES = ';,"\\'


class HeaderTemplate:
    """The template of a header, and what a value in it may not contain.

    A value may not contain the separators that the template itself has beside it, nor, within
    quotes, what ends them. What a service or its login sent is whole where it has separators of its
    own, such as several cookies; it may only not end quotes.

    Args:
        name: the header's name.
        text: its value, as the recipe writes it.
        trusted: the placeholders whose values come from answers and from the login.
    """

    def __init__(self, name: str, text: str, trusted: frozenset[str]) -> None:
        self._name = name
        pieces = parse_text(text)
        literal = "".join(piece for piece in pieces if isinstance(piece, str))
        quotes = '"\\' if '"' in literal else ""
        marks = "".join(mark for mark in ";," if mark in literal) + quotes
        if name.lower() == "cookie":
            marks = _OF_COOKIES
        self._checked: list[tuple[Piece, str]] = []
        for piece in pieces:
            if isinstance(piece, str):
                continue
            is_trusted = isinstance(piece, Value) and piece.name in trusted
            if refused := quotes if is_trusted else marks:
                self._checked.append((piece, refused))

    def __bool__(self) -> bool:
        return bool(self._checked)

    def check(self, values: Mapping[str, Any]) -> None:
        """Refuse values that would be more than a part. Raises InvalidRequestError."""
        for piece, refused in self._checked:
            if not all(name in values for name in names_in((piece,))):
                continue  # Berlin generates it
            found = set(render_text((piece,), values)).intersection(refused)
            if found:
                raise InvalidRequestError(
                    f"a value in the header {self._name} contains {min(found)!r}, which would end "
                    "its part of the header; nothing was sent. {url:…} in the recipe encodes it"
                )
