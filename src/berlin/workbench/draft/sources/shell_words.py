"""Splits a command into words as bash does, without running anything in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from berlin.errors import ConfigurationError

_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "e": "\x1b",
    "E": "\x1b",
}
_ANSI = re.compile(
    r"\\(?:u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|x([0-9a-fA-F]{1,2})|([0-7]{1,3})|(.))", re.DOTALL
)


def split_words(text: str) -> Iterator[str]:
    """Yield the words of a command: quotes of a POSIX shell, and `$'…'` of bash.

    Raises:
        ConfigurationError: if a quote is never closed.
    """
    word: list[str] | None = None
    at = 0
    while at < len(text):
        match text[at]:
            case "'":
                piece, at = _until(text, at + 1, "'")
                word = [*(word or ()), piece]
            case '"':
                piece, at = _double(text, at + 1)
                word = [*(word or ()), piece]
            case "$" if text.startswith("$'", at):
                piece, at = _ansi(text, at + 2)
                word = [*(word or ()), piece]
            case "\\":
                behind = text[at + 1 : at + 3].replace("\r\n", "\n")[:1]
                at += 3 if text.startswith("\\\r\n", at) else 2
                word = word if behind == "\n" else [*(word or ()), behind]
            case c if c.isspace():
                if word is not None:
                    yield "".join(word)
                word, at = None, at + 1
            case c:
                plain = re.compile(r"[^'\"$\\\s]+").match(text, at)
                piece = plain[0] if plain else c
                word, at = [*(word or ()), piece], at + len(piece)
    if word is not None:
        yield "".join(word)


def _until(text: str, begin: int, mark: str) -> tuple[str, int]:
    end = text.find(mark, begin)
    if end < 0:
        raise _unclosed(text, begin)
    return text[begin:end], end + 1


def _double(text: str, begin: int) -> tuple[str, int]:
    found = re.compile(r'((?:[^"\\]|\\.)*)"', re.DOTALL).match(text, begin)
    if found is None:
        raise _unclosed(text, begin)
    plain = re.sub(r'\\(["\\$`!\n])', lambda m: m[1].strip("\n"), found[1])
    return plain, found.end()


def _ansi(text: str, begin: int) -> tuple[str, int]:
    found = re.compile(r"((?:[^'\\]|\\.)*)'", re.DOTALL).match(text, begin)
    if found is None:
        raise _unclosed(text, begin)
    plain = _ANSI.sub(_unescape, found[1])
    # Adjacent halves of a surrogate pair are one character.
    whole = plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole, found.end()


def _unescape(found: re.Match[str]) -> str:
    u, long, x, octal, other = found.groups()
    if other is not None:
        return _ESCAPES.get(other, other)
    number = int(octal, 8) % 256 if octal else int(u or long or x, 16)
    return chr(number) if number < 0x110000 else "\ufffd"


def _unclosed(text: str, begin: int) -> ConfigurationError:
    return ConfigurationError(
        f"a quote of the curl command is never closed (it begins at character {begin}): "
        "paste the whole command"
    )
