"""Parses TOML into a typed value; errors give the file, the line and the nearest name."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple, TypeVar

import msgspec

from berlin.errors import ConfigurationError
from berlin.types import suggest

MAX_TOML_CHARS = 4 * 1024 * 1024

# The parser takes time quadratic in this.
_LONG_NAME = re.compile(r"(?<![\w\"'-])(?:[\w\"'-]++[ \t]*+\.[ \t]*+){32}")

_T = TypeVar("_T")


def parse_toml(
    text: str,
    source: str,
    kind: type[_T],
    complete: Callable[[dict[str, Any]], dict[str, Any]] = lambda tree: tree,
) -> _T:
    """Return the value of type `kind` that the text describes.

    Args:
        source: the file's name, for errors.
        complete: adds to the tree the parts defined elsewhere.

    Raises:
        ConfigurationError: if the text is not TOML, has an unknown key or a wrong type.
    """
    text = text.removeprefix("\ufeff")  # the UTF-8 mark that editors on Windows write
    if len(text) > MAX_TOML_CHARS:
        raise ConfigurationError(f"{source} is too large for a configuration file")
    if _LONG_NAME.search(text):
        raise ConfigurationError(f"{source} is not valid TOML: a name has too many parts")
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ConfigurationError(f"{source} is not valid TOML: {error}") from error
    tree = complete(tree)
    try:
        return msgspec.convert(tree, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        # Only now: describing all types takes longer than all the rest.
        _check_keys(msgspec.inspect.type_info(kind), tree, (), text, source)
        where = re.search(r"(?:at|in) `\$\.?([^`]*)`", str(error))
        path = tuple(re.findall(r"\.\.\.|[^.\[\]]+", where[1])) if where else ()
        path = _named(path, tree, kind)
        said = re.sub(r"`\$.*`", f"`{'.'.join(path)}`", str(error)) if path else str(error)
        raise ConfigurationError(f"{source}, line {find_line(text, path)}: {said}") from error


def _check_keys(
    kind: msgspec.inspect.Type, tree: Any, path: tuple[str, ...], text: str, source: str
) -> None:
    """Raise for an unknown key; msgspec finds it too, but does not suggest what was meant."""
    match kind:
        case msgspec.inspect.StructType() if isinstance(tree, dict):
            fields = {field.encode_name: field.type for field in kind.fields}
            if kind.tag_field is not None:
                fields[kind.tag_field] = msgspec.inspect.StrType()
            for key, value in tree.items():
                if key not in fields:
                    key = key[:80]
                    hint = suggest(key, fields, f"known: {', '.join(fields)}")
                    here = (*path, key)
                    table = ".".join(part for part in path if not part.isdigit())
                    place = f"in [{table}]" if table else "at the top level"
                    raise ConfigurationError(
                        f"{source}, line {find_line(text, here)}: unknown key {key!r} "
                        f"{place}; {hint}"
                    )
                _check_keys(fields[key], value, (*path, key), text, source)
        case msgspec.inspect.DictType() if isinstance(tree, dict):
            for key, value in tree.items():
                _check_keys(kind.value_type, value, (*path, key), text, source)
        case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType() if isinstance(tree, list):
            for n, value in enumerate(tree):
                _check_keys(kind.item_type, value, (*path, str(n)), text, source)
        case msgspec.inspect.UnionType():
            for option in kind.types:
                if _is_meant(option, tree):
                    _check_keys(option, tree, path, text, source)


def _named(path: tuple[str, ...], tree: Any, kind: Any, begin: int = 0) -> tuple[str, ...]:
    """Return the path with the real keys where msgspec writes `...`: those that fail alone."""
    if "..." not in path[begin:]:
        return path
    at = path.index("...", begin)
    for key in reduce(_step, path[:at], tree):
        alone = _only(tree, (*path[:at], key))
        try:
            msgspec.convert(alone, kind)
        except msgspec.ValidationError:
            return _named((*path[:at], key, *path[at + 1 :]), alone, kind, at + 1)
    return path


def _step(tree: Any, name: str) -> Any:
    return tree[int(name)] if isinstance(tree, list) else tree[name]


def _only(tree: Any, path: tuple[str, ...]) -> Any:
    """Return the tree with only one key in the table at the end of the path."""
    key, *rest = path
    if isinstance(tree, list):
        n = int(key)
        return [*tree[:n], _only(tree[n], tuple(rest)), *tree[n + 1 :]]
    return {**tree, key: _only(tree[key], tuple(rest))} if rest else {key: tree[key]}


def _is_meant(option: msgspec.inspect.Type, tree: Any) -> bool:
    if not isinstance(option, msgspec.inspect.StructType):
        return isinstance(tree, list) or isinstance(option, msgspec.inspect.DictType)
    return option.tag_field is None or (
        isinstance(tree, dict) and tree.get(option.tag_field) == option.tag
    )


class _Section(NamedTuple):
    """The part of a TOML text below one head.

    Attributes:
        table: the names in the head; `()` for what precedes the first.
        item: for an item of an array of tables its index, otherwise -1.
        line: the line of the head.
        keys: each key with its line.
    """

    table: tuple[str, ...]
    item: int
    line: int
    keys: list[tuple[tuple[str, ...], int]]


class TomlLines:
    """Finds the lines of keys in a TOML text. For several keys it is read only once."""

    def __init__(self, text: str) -> None:
        self._sections = [_Section((), -1, 1, [])]
        heads: Counter[tuple[str, ...]] = Counter()
        for number, line in enumerate(text.splitlines(), 1):
            if head := _HEAD.match(line):
                table = _names(head[2])
                item = heads[table] if head[1] == "[[" else -1
                heads[table] += 1
                self._sections.append(_Section(table, item, number, []))
            elif key := _KEY.match(line):
                self._sections[-1].keys.append((_names(key[1]), number))

    def find(self, path: tuple[str, ...]) -> int:
        """Return the line of a key, or of the nearest enclosing table."""
        best = 1
        wanted = next((int(part) for part in path if part.isdecimal()), 0)
        path = tuple(part for part in path if not part.isdecimal())  # items of [[…]] have no name
        for table, item, line, keys in self._sections:
            if 0 <= item < wanted:
                continue
            if table != path[: len(table)]:
                if best == 1 and path and table[: len(path)] == path:
                    best = line
                continue
            best = line
            rest = path[len(table) :]
            for names, at in keys:
                if names == rest[: len(names)]:
                    return at
        return best


_HEAD = re.compile(r"\s*(\[{1,2})([^\[\]]+)\]")
_KEY = re.compile(r"\s*([\w.\"'-]+)\s*=")


def _names(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip(" \"'") for part in dotted.split("."))


def find_line(text: str, path: tuple[str, ...]) -> int:
    """Return the line of a key, or of the nearest enclosing table."""
    return TomlLines(text).find(path)
