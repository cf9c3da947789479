"""Compiles pointers to msgspec types, so that a described stream is decoded as fast as with a
handwritten decoder: the wanted values are read into a struct, everything else is skipped.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from berlin.errors import ConfigurationError
from berlin.wire.pointer import MISSING, get_at, is_index

Pointer = tuple[str, ...]
Accessor = Callable[[Any], Any]
PlainReader = Callable[[Any], str | None]


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

    def plain_reader(self, text: Pointer, more: Iterable[Pointer]) -> PlainReader:
        """Return a function that reads the text of a document; `None` if it has more than text.

        It is called for each document of a stream, so it takes as few steps as a decoder written
        for this stream.

        Args:
            text: a pointer to text.
            more: the other pointers.
        """
        path, others = self._path(text), [self._path(pointer) for pointer in more]
        # The item of a list that has the text may have other values, too.
        cut = 1 + next((n for n, part in enumerate(path) if isinstance(part, int)), -1)
        head, path = path[:cut], path[cut:]
        inside = [other[cut:] for other in others if other[:cut] == head]
        outside = [other for other in others if other[:cut] != head]
        parts = (*head[:-1], *path, *chain.from_iterable((*inside, *outside)))
        if not path or len(head) == 1 or any(isinstance(part, int) for part in parts):
            return one_by_one(self.reader(text), list(map(self.reader, more)))
        read_text = _members([path])
        read_list, index = (_members([head[:-1]]), head[-1]) if head else (None, 0)
        read_inside, nothing_inside = _values(inside)
        read_outside, nothing_outside = _values(outside)

        def read(document: Any) -> str | None:
            try:
                item = document if read_list is None else read_list(document)[index]
                if read_inside is not None and read_inside(item) != nothing_inside:
                    return None
                if read_outside is not None and read_outside(document) != nothing_outside:
                    return None
                return read_text(item) or None
            except (AttributeError, IndexError, TypeError):
                return None  # a part of the way is missing

        return read

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

    def plain_reader(self, text: Pointer, more: Iterable[Pointer]) -> PlainReader:
        """Return a function that reads the text of a document; `None` if it has more than text."""
        return one_by_one(self.reader(text), list(map(self.reader, more)))


def one_by_one(read_text: Accessor, others: list[Accessor]) -> PlainReader:
    """Return a function like that of `CompiledDocument.plain_reader`, for any pointers."""

    def read(document: Any) -> str | None:
        has_more = any(other(document) not in (UNSET, None) for other in others)
        return None if has_more else read_text(document) or None

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


def _members(paths: list[list[str | int]]) -> Accessor:
    return operator.attrgetter(*(".".join(map(str, path)) for path in paths))


def _values(paths: list[list[str | int]]) -> tuple[Accessor | None, tuple[None, ...] | None]:
    """Return a function that reads several values together, and its result if there are none."""
    nothing = (None,) * len(paths) if len(paths) > 1 else None
    return _members(paths) if paths else None, nothing


def _item(n: int) -> Accessor:
    def read(items: list[Any]) -> Any:
        return items[n] if n < len(items) else UNSET

    return read
