"""JSON with `{placeholder}`s: how a recipe describes a request body. Read in reverse, it parses
one: the gateway's described formats are recipes in reverse.

A placeholder that is a whole string becomes the value itself; within a longer string it becomes
text. Where a placeholder has no value, whatever contains nothing else is left out: the member, and
the object or list around it. `{function:…}` calls one of a closed set of functions; there are no
expressions beyond that, and nothing is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final, TypeAlias

from berlin.errors import ConfigurationError, InvalidRequestError
from berlin.language.values.functions import MADE, make_values
from berlin.language.values.text import Value, names_in, parse_text, render_text
from berlin.types import suggest

_Renderer: TypeAlias = Callable[[Mapping[str, Any]], Any]


class Absent:
    """The type of `ABSENT`: a placeholder without a value."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __str__(self) -> str:
        return ""


ABSENT: Final = Absent()


class Template:
    """A compiled tree of JSON. Raises ConfigurationError.

    Args:
        tree: the JSON value as a recipe writes it.
        names: the placeholders that may be used in it.

    Attributes:
        names: the placeholders that are used in it.
        paths: the places of those that are a whole string.
        places: the places of all of them.
    """

    def __init__(self, tree: Any, names: frozenset[str]) -> None:
        self.tree = tree
        self.paths: dict[str, tuple[str, ...]] = {}
        self.names: set[str] = set()
        self.places: set[tuple[str, ...]] = set()
        self._compile(tree, names, ())
        self._render = _renderer(tree)
        self._made = self.names & MADE.keys()

    def render(self, values: Mapping[str, Any]) -> Any:
        """Return the tree with values for its placeholders.

        Values that Berlin generates are new each time, unless they are given.
        """
        if self._made and (missing := self._made - values.keys()):
            values = {**values, **make_values(missing)}
        rendered = self._render(values)
        return type(self.tree)() if rendered is ABSENT else rendered

    def parse(self, document: Any) -> dict[str, Any]:
        """Return the values at the places of the placeholders.

        Raises:
            InvalidRequestError: if the document has no value at such a place; the error names it.
        """
        values: dict[str, Any] = {}
        for name, path in self.paths.items():
            here = document
            for segment in path:
                if isinstance(here, dict) and segment in here:
                    here = here[segment]
                elif isinstance(here, list) and segment.isdecimal() and int(segment) < len(here):
                    here = here[int(segment)]
                else:
                    raise InvalidRequestError.about(".".join(path), "missing")
            values[name] = here
        return values

    def _compile(self, tree: Any, names: frozenset[str], path: tuple[str, ...]) -> None:
        match tree:
            case str():
                pieces = parse_text(tree)
                found = list(names_in(pieces))
                for name in found:
                    if name not in names and name not in MADE:
                        known = ", ".join(f"{{{known}}}" for known in sorted(names))
                        hint = suggest(name, (*names, *MADE), f"known: {known}", "{{{}}}")
                        raise ConfigurationError(
                            f"unknown placeholder {{{name}}} at /{'/'.join(path)}; {hint}"
                        )
                self.names.update(found)
                if any(not isinstance(piece, str) for piece in pieces):
                    self.places.add(path)
                if len(pieces) == 1 and isinstance(pieces[0], Value):
                    self.paths[pieces[0].name] = path
            case dict():
                for key, value in tree.items():
                    self._compile(value, names, (*path, key))
            case list():
                for n, value in enumerate(tree):
                    self._compile(value, names, (*path, str(n)))


def _renderer(tree: Any) -> _Renderer:
    """Return a function that renders a tree; constant parts are examined once, here."""
    match tree:
        case str():
            return _text_renderer(tree)
        case dict() if tree:
            return _object_renderer(tree)
        case list() if tree:
            items = [_renderer(item) for item in tree]

            def render_list(values: Mapping[str, Any]) -> Any:
                rendered = [render(values) for render in items]
                return [value for value in rendered if value is not ABSENT] or ABSENT

            return render_list
        case dict() | list():
            return lambda values: type(tree)()
        case _:
            return lambda values: tree


def _text_renderer(text: str) -> _Renderer:
    pieces = parse_text(text)
    match pieces:
        case () | (str(),):
            constant = "".join(map(str, pieces))
            return lambda values: constant
        case (Value(name=name),):
            return itemgetter(name)
        case _:
            return lambda values: render_text(pieces, values)


def _object_renderer(tree: dict[str, Any]) -> _Renderer:
    moving = {
        key: _renderer(value)
        for key, value in tree.items()
        if isinstance(value, dict | list) or (isinstance(value, str) and "{" in value)
    }
    members = list(moving.items())

    def render(values: Mapping[str, Any]) -> Any:
        rendered = tree.copy()
        for key, render_member in members:
            value = render_member(values)
            if value is ABSENT:
                del rendered[key]
            else:
                rendered[key] = value
        return rendered or ABSENT

    return render
