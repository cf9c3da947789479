"""Compiles pointers to msgspec types, so that a described stream is decoded as fast as with a
handwritten decoder: the wanted values are read straight into a struct, everything else is skipped.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from berlin.errors import ConfigurationError
from berlin.wire.pointer import MISSING, get_at, is_index

Pointer = tuple[str, ...]
Accessor = Callable[[Any], Any]
BulkAccessor = Callable[[list[Any]], list[Any]]

_NULLS = (UNSET, None, Raw(b"null"))


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
        other: pointers to values of any kind; kept as raw bytes until they are read.

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
        """Return a function that reads the value at a pointer: `UNSET` where there is none."""
        steps, rest = self._steps(pointer)
        if rest is not None:
            steps.append(_raw(rest))
        return _chain(steps)

    def bulk_reader(self, pointer: Pointer) -> BulkAccessor:
        """Return a function that reads the value at a pointer to text in each of many documents."""
        return _bulk(self._path(pointer), self.reader(pointer))

    def plain(self, pointers: Iterable[Pointer]) -> Callable[[list[Any]], bool]:
        """Return a function that says whether none of many documents has a value at a pointer.

        It may be wrong about a null, which only makes the documents be examined one by one.
        """
        pointers = list(pointers)
        paths = [self._path(pointer) for pointer in pointers]
        at_root = [p for p, path in zip(pointers, paths, strict=True) if len(path) == 1]
        nested = [
            _bulk(path, _chain(self._steps(pointer)[0]))
            for pointer, path in zip(pointers, paths, strict=True)
            if len(path) > 1
        ]
        read, nothing = self._reader_of_all(at_root) if at_root else (None, ())

        def is_plain(documents: list[Any]) -> bool:
            if read is not None and list(map(read, documents)).count(nothing) != len(documents):
                return False
            for read_all in nested:
                values = read_all(documents)
                if values.count(UNSET) != len(values) and not all(v in _NULLS for v in values):
                    return False
            return True

        return is_plain

    def _reader_of_all(self, pointers: list[Pointer]) -> tuple[Accessor, tuple[Any, ...]]:
        """Return a function that reads all members at once, and its result if there are none."""
        names = [f"f{n}" for n in sorted({self._field(p) for p in pointers})]
        return operator.attrgetter(*names, names[0]), (UNSET,) * (len(names) + 1)

    def watcher(self, pointers: Iterable[Pointer]) -> Callable[[Any], bool]:
        """Return a function that says whether there is a value at any of the pointers.

        It is called for each object of a stream, so it looks without decoding.
        """
        pointers = list(pointers)
        chains = [tuple(steps) for steps in (self._steps(pointer)[0] for pointer in pointers)]
        if not chains:
            return lambda document: False
        if all(len(chain) == 1 for chain in chains):
            read, nothing = self._reader_of_all(pointers)
            return lambda document: read(document) != nothing
        readers = [_chain(list(chain)) for chain in chains]
        return lambda document: any(read(document) not in _NULLS for read in readers)

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

    def _field(self, pointer: Pointer) -> int:
        return list(self._root.children).index(pointer[0])

    def _path(self, pointer: Pointer) -> list[str | int]:
        """Return the names and indices down to text, or to raw bytes."""
        path: list[str | int] = []
        node, rest = self._root, pointer
        while rest and (node is self._root or node.holds_text):
            if node is not self._root and node.is_list:
                path.append(int(rest[0]))
            else:
                path.append(f"f{list(node.children).index(rest[0])}")
            node, rest = node.children[rest[0]], rest[1:]
        return path

    def _steps(self, pointer: Pointer) -> tuple[list[Accessor], Pointer | None]:
        """Return the steps down to text (and `None`), or to raw bytes and the rest of the way."""
        path = self._path(pointer)
        steps = [_item(p) if isinstance(p, int) else operator.attrgetter(p) for p in path]
        return steps, None if self._end(pointer).is_text else pointer[len(path) :]


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

    def bulk_reader(self, pointer: Pointer) -> BulkAccessor:
        """Return a function that reads the value at a pointer in each of many documents."""
        read = self.reader(pointer)
        return lambda documents: list(map(read, documents))

    def plain(self, pointers: Iterable[Pointer]) -> Callable[[list[Any]], bool]:
        """Return a function that says whether none of many documents has a value at a pointer."""
        watch = self.watcher(pointers)
        return lambda documents: not any(map(watch, documents))

    def watcher(self, pointers: Iterable[Pointer]) -> Callable[[Any], bool]:
        """Return a function that says whether there is a value at any of the pointers."""
        pointers = list(pointers)
        nothing = (MISSING, None)
        return lambda document: any(get_at(document, p) not in nothing for p in pointers)


def _type_of(node: _Node) -> Any:
    if node.is_text:
        return str | None
    if not node.holds_text:
        return Raw
    if node.is_list:
        item = next(iter(node.children.values()))
        return list[_type_of(item)] | None  # type: ignore[misc]  # a type made at run time
    return _struct(node) | None


def _struct(node: _Node) -> type:
    fields: list[Any] = [
        (f"f{n}", _type_of(child) | UnsetType, msgspec.field(default=UNSET, name=segment))
        for n, (segment, child) in enumerate(node.children.items())
    ]
    return msgspec.defstruct("Described", fields, gc=False)


def _chain(steps: list[Accessor]) -> Accessor:
    if len(steps) == 1:
        return steps[0]

    def read(document: Any) -> Any:
        for step in steps:
            document = step(document)
            if document is UNSET or document is None:
                return document
        return document

    return read


def _bulk(path: list[str | int], read: Accessor) -> BulkAccessor:
    """Return a function that reads one place in many documents, in as few steps as there are.

    Where a document lacks the place, they are all read one by one.
    """
    at = [n for n, part in enumerate(path) if isinstance(part, int)]
    if not at:
        get = operator.attrgetter(".".join(map(str, path)))

        def read_members(documents: list[Any]) -> list[Any]:
            try:
                return list(map(get, documents))
            except AttributeError:
                return list(map(read, documents))

        return read_members
    if len(at) > 1 or at[0] in (0, len(path) - 1):
        return lambda documents: list(map(read, documents))
    index = path[at[0]]
    before = operator.attrgetter(".".join(map(str, path[: at[0]])))
    behind = operator.attrgetter(".".join(map(str, path[at[0] + 1 :])))

    def read_items(documents: list[Any]) -> list[Any]:
        try:
            return [behind(before(document)[index]) for document in documents]
        except (AttributeError, IndexError, TypeError):
            return list(map(read, documents))

    return read_items


def _item(n: int) -> Accessor:
    def read(items: list[Any]) -> Any:
        return items[n] if n < len(items) else UNSET

    return read


def _raw(rest: Pointer) -> Accessor:
    def read(raw: Any) -> Any:
        if raw is UNSET:
            return raw
        value = get_at(msgspec.json.decode(raw), rest)
        return UNSET if value is MISSING else value

    return read
