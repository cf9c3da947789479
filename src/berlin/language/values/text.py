"""Text with placeholders: literal text, values and function calls.

`{name}` is a value, `{function:argument}` the result of a function of its argument, which may
contain placeholders; `{{name}}` is the text `{name}`. All other braces are text.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec

from berlin.errors import ConfigurationError, InvalidRequestError
from berlin.language.values import functions

MAX_DEPTH = 6
"""Of nested function calls: each may lengthen its input. Keys of signatures are derived in five."""

MAX_MADE_CHARS = 64 * 1024 * 1024

_OPENING = re.compile(r"\{\{([a-z0-9_]+)\}\}|\{([a-z0-9_]+)\}|\{([a-z0-9_]+):")
_BRACE = re.compile(r"[{}]")


class Value(msgspec.Struct, frozen=True):
    """A placeholder that a value replaces."""

    name: str


class Call(msgspec.Struct, frozen=True):
    """A placeholder filled by a function.

    Attributes:
        arguments: each is text with placeholders.
        made: the compiled function, if the argument is written out in the recipe.
    """

    function: str
    arguments: tuple[tuple[Piece, ...], ...]
    made: Callable[[], str] | None = None


Piece: TypeAlias = str | Value | Call


@lru_cache(maxsize=4096)
def parse_text(text: str, depth: int = 0) -> tuple[Piece, ...]:
    """Return the pieces of a text.

    Raises:
        ConfigurationError: if a function is unknown or called with the wrong arguments.
    """
    pieces: list[Piece] = []
    begin = at = 0
    while found := _OPENING.search(text, at):
        literal, value, function = found[1], found[2], found[3]
        if function and function not in functions.NAMES:
            near = difflib.get_close_matches(function, functions.NAMES, n=1, cutoff=0.8)
            if near:
                raise ConfigurationError(
                    f"unknown function {{{function}:…}}; did you mean {near[0]!r}?"
                )
            at = found.end()
            continue
        pieces.append(text[begin : found.start()])
        at = found.end()
        if literal:
            pieces.append(f"{{{literal}}}")
        elif value:
            pieces.append(Value(value))
        else:
            end = _closing(text, at, function)
            pieces.append(_call(function, text[at:end], depth))
            at = end + 1
        begin = at
    pieces.append(text[begin:])
    return _joined(pieces)


def names_in(pieces: tuple[Piece, ...]) -> Iterator[str]:
    """Yield the names of all values, including those in arguments."""
    for piece in pieces:
        match piece:
            case Value(name=name):
                yield name
            case Call(arguments=arguments):
                for argument in arguments:
                    yield from names_in(argument)


def names_in_tree(tree: Any) -> Iterator[str]:
    """Yield the names of all values in the texts of a tree."""
    match tree:
        case str():
            yield from names_in(parse_text(tree))
        case dict():
            for value in tree.values():
                yield from names_in_tree(value)
        case list():
            for value in tree:
                yield from names_in_tree(value)


def render_text(pieces: tuple[Piece, ...], values: Mapping[str, Any]) -> str:
    """Return the text with values in place of its placeholders. Raises InvalidRequestError."""
    return "".join(
        piece if isinstance(piece, str) else as_text(_render(piece, values)) for piece in pieces
    )


def as_text(value: Any) -> str:
    """Return a value as text, for use within a longer text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _render(piece: Value | Call, values: Mapping[str, Any]) -> Any:
    if isinstance(piece, Value):
        return values[piece.name]
    if piece.made is not None:
        return piece.made()
    return functions.call(piece.function, [_as_bytes(a, values) for a in piece.arguments])


def _as_bytes(pieces: tuple[Piece, ...], values: Mapping[str, Any]) -> bytes:
    parts = []
    for piece in pieces:
        value = piece if isinstance(piece, str) else _render(piece, values)
        try:
            parts.append(value if isinstance(value, bytes) else as_text(value).encode())
        except UnicodeEncodeError:
            raise InvalidRequestError("a value contains half of a surrogate pair") from None
    whole = b"".join(parts)
    if len(whole) > MAX_MADE_CHARS:
        raise InvalidRequestError("a function of the recipe is given too much; nothing was sent")
    return whole


def _closing(text: str, at: int, function: str) -> int:
    """Return the position of the brace that closes a call; braces inside are paired."""
    depth = 0
    for brace in _BRACE.finditer(text, at):
        depth += 1 if brace[0] == "{" else -1
        if depth < 0:
            return brace.start()
    raise ConfigurationError(f"{{{function}:… has no closing brace")


def _call(function: str, argument: str, depth: int) -> Call:
    if depth >= MAX_DEPTH:
        raise ConfigurationError(f"functions within functions are more than {MAX_DEPTH} deep")
    if not depth and function in functions.RAW:
        raise ConfigurationError(f"{{{function}:…}} is bytes: use it as an argument of a function")
    arguments = _split(argument, functions.arity(function))
    if len(arguments) < functions.arity(function):
        raise ConfigurationError(
            f"{{{function}:…}} needs {functions.arity(function)} arguments, with a colon between"
        )
    parsed = tuple(parse_text(one, depth + 1) for one in arguments)
    literal = arguments[0] if all(map(_is_plain, parsed)) else None
    return Call(function, parsed, functions.with_literal(function, literal))


def _is_plain(pieces: tuple[Piece, ...]) -> bool:
    return all(isinstance(piece, str) for piece in pieces)


def _split(argument: str, count: int) -> list[str]:
    """Split at the first colons outside braces; the last argument may contain more."""
    parts: list[str] = []
    depth = begin = 0
    for mark in re.finditer(r"[{}:]", argument):
        if len(parts) == count - 1:
            break
        if mark[0] == ":" and depth == 0:
            parts.append(argument[begin : mark.start()])
            begin = mark.end()
        else:
            depth += {"{": 1, "}": -1}.get(mark[0], 0)
    return [*parts, argument[begin:]]


def _joined(pieces: list[Piece]) -> tuple[Piece, ...]:
    """Return the pieces without empty text and with adjacent texts merged."""
    joined: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        elif piece != "":
            joined.append(piece)
    return tuple(joined)
