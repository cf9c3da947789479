"""Compiles pointers to msgspec types, so that a described stream is decoded as fast as with a
handwritten decoder: the wanted values are read into a struct, everything else is skipped.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from berlin.errors import ConfigurationError
from berlin.types import StreamEvent, TextDelta
from berlin.wire.pointer import MISSING, get_at, is_index

Pointer = tuple[str, ...]
Accessor = Callable[[Any], Any]
TakePlain = Callable[[list[Any], list[StreamEvent], Callable[[Any, list[StreamEvent]], bool]], None]
"""Takes documents: adds an event for each that holds only text, and calls a function for others,
until it returns that the answer has ended."""


class _Node:
    """A place in the document, with the places below it that pointers go through."""

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.is_text = False
        self.holds_text = False

    @property
    def is_list(self) -> bool:
        return bool(self.children) and all(map(is_index, self.children))

    def merge_items(self) -> None:
        """Merge all items of a list into one place, since they have one type."""
        if self.holds_text and self.is_list:
            item = _Node()
            for child in self.children.values():
                item.take(child)
            self.children = dict.fromkeys(self.children, item)
        for child in {id(child): child for child in self.children.values()}.values():
            child.merge_items()

    def take(self, node: _Node) -> None:
        """Add the contents of another node."""
        self.is_text |= node.is_text
        self.holds_text |= node.holds_text
        for segment, child in node.children.items():
            self.children.setdefault(segment, _Node()).take(child)


class CompiledDocument:
    """A type for the documents of a stream, and readers for the values wanted from them.

    Args:
        text: pointers to values that are text or null; decoded at once.
        other: pointers to values of any kind.

    Raises:
        ConfigurationError: if one pointer goes through the text of another.
    """

    def __init__(self, text: Iterable[Pointer], other: Iterable[Pointer]) -> None:
        text, other = list(text), list(other)
        self._root = _Node()
        for pointer in text:
            self._add(pointer, is_text=True)
        for pointer in other:
            self._add(pointer, is_text=False)
        for child in self._root.children.values():
            child.merge_items()
        for pointer in (*text, *other):
            end = self._end(pointer)
            if end.holds_text or (end.is_text and (end.children or pointer not in text)):
                raise ConfigurationError(f"another pointer goes through /{'/'.join(pointer)}")
        try:
            self.type = _struct(self._root)
        except ValueError as error:  # a name that msgspec cannot take, with a quote in it
            raise ConfigurationError(f"a pointer cannot be used: {error}") from error

    def reader(self, pointer: Pointer) -> Accessor:
        """Return a function that reads the value at a pointer.

        It returns `UNSET` or `None` where there is none.
        """
        path = self._path(pointer)
        steps = [_item(p) if isinstance(p, int) else operator.attrgetter(p) for p in path]
        return _chain(steps, pointer[len(path) :])

    def plain_taker(self, text: Pointer, more: Iterable[Pointer]) -> TakePlain:
        """Return a function that takes documents, of which nearly all hold only text.

        It is written as source, like the methods of a dataclass: what runs for each document of a
        stream then costs as much as in a decoder written by hand, and not three times that. Only
        the generated names of fields and the indexes of lists are in it, nothing of a recipe.

        Args:
            more: the other pointers.
        """
        others = dict.fromkeys(map(self._source, more))
        source = _TAKE_PLAIN.format(
            self._source(text), "".join(f" and {other} is None" for other in others)
        )
        made: dict[str, Any] = {"TextDelta": TextDelta}
        exec(source, made)  # noqa: S102  # see above
        take: TakePlain = made["take"]
        return take

    def _add(self, pointer: Pointer, *, is_text: bool) -> None:
        node = self._root
        for segment in pointer:
            if node.is_text:
                raise ConfigurationError(f"/{'/'.join(pointer)} goes through a value that is text")
            node.holds_text |= is_text
            node = node.children.setdefault(segment, _Node())
        node.is_text |= is_text

    def _end(self, pointer: Pointer) -> _Node:
        node = self._root
        for segment in pointer:
            node = node.children[segment]
        return node

    def _source(self, pointer: Pointer) -> str:
        path = self._path(pointer)
        return "".join(
            ["document", *(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)]
        )

    def _path(self, pointer: Pointer) -> list[str | int]:
        """Return the names and indices down to text, or to a value of any kind."""
        path: list[str | int] = []
        node, rest = self._root, pointer
        while rest and (node is self._root or node.holds_text):
            if node is not self._root and node.is_list:
                path.append(int(rest[0]))
            else:
                path.append(f"f{list(node.children).index(rest[0])}")
            node, rest = node.children[rest[0]], rest[1:]
        return path


class AnyDocument:
    """Readers like those of `CompiledDocument`, for pointers with conditions: slower, since the
    whole document is decoded.
    """

    type = dict[str, Any]

    def __init__(self, text: Iterable[Pointer]) -> None:
        self._text = frozenset(text)

    def reader(self, pointer: Pointer) -> Accessor:
        """Return a function that reads the value at a pointer: `UNSET` where there is none."""
        is_text = pointer in self._text
        holds = any(other != pointer and other[: len(pointer)] == pointer for other in self._text)

        def read(document: Any) -> Any:
            value = get_at(document, pointer)
            if value is MISSING:
                return UNSET
            if holds and isinstance(value, dict | list):
                return UNSET  # the text is in it
            if is_text and value is not None and not isinstance(value, str):
                where = "/".join(("", *pointer))
                raise msgspec.ValidationError(
                    f"Expected `str | null`, got `{type(value).__name__}` - at `{where}`"
                )
            return value

        return read


def _type_of(node: _Node) -> Any:
    if node.is_text:
        return str | None
    if not node.holds_text:
        return Any
    if node.is_list:
        item = next(iter(node.children.values()))
        return list[_type_of(item)] | None  # type: ignore[misc]  # a type made at run time
    return _struct(node) | None


def _struct(node: _Node) -> type:
    fields: list[Any] = [
        (f"f{n}", _type_of(child), msgspec.field(default=None, name=segment))
        if not (child.is_text or child.holds_text)
        else (f"f{n}", _type_of(child) | UnsetType, msgspec.field(default=UNSET, name=segment))
        for n, (segment, child) in enumerate(node.children.items())
    ]
    return msgspec.defstruct("Described", fields, gc=False)


def _chain(steps: list[Accessor], rest: Pointer) -> Accessor:
    if len(steps) == 1 and not rest:
        return steps[0]

    def read(document: Any) -> Any:
        for step in steps:
            document = step(document)
            if document is UNSET or document is None:
                return document
        if rest:
            document = get_at(document, rest)
        return UNSET if document is MISSING else document

    return read


def _item(n: int) -> Accessor:
    def read(items: list[Any]) -> Any:
        return items[n] if n < len(items) else UNSET

    return read


_TAKE_PLAIN = """
def take(documents, events, look_at):
    for document in documents:
        try:
            text = {0}
            if text{1}:
                events.append(TextDelta(text))
                continue
        except (AttributeError, IndexError, TypeError):
            pass  # a part of the way is missing
        if not look_at(document, events):
            return
"""
