"""Splits a command into words as bash does, without running anything in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from berlin.errors import ConfigurationError

_PIECE = re.compile(
    r"""'(?P<single>[^']*+)'|"(?P<double>(?:[^"\\]|\\.)*+)"|\$'(?P<ansi>(?:[^'\\]|\\.)*+)'"""
    r"""|(?P<blank>\s+|\\\r?\n)|\\(?P<escaped>.?)|(?P<plain>[^\s'"\\$]+|\$(?!'))""",
    re.DOTALL,
)
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
    word: list[str] = []
    begun, at = False, 0
    while at < len(text):
        found = _PIECE.match(text, at)
        if found is None:
            raise ConfigurationError(
                f"a quote of the curl command is never closed (it begins at character {at + 1}): "
                "paste the whole command"
            )
        at = found.end()
        kind = found.lastgroup or ""
        if kind != "blank":
            begun = True
            word.append(_READ.get(kind, str)(found[kind]))
        elif begun and found[0][0] != "\\":
            yield "".join(word)
            word, begun = [], False
    if begun:
        yield "".join(word)


def _double(text: str) -> str:
    return re.sub(r'\\(["\\$`!\n])', lambda found: found[1].strip("\n"), text)


def _ansi(text: str) -> str:
    plain = _ANSI.sub(_unescape, text)
    # Adjacent halves of a surrogate pair are one character.
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_READ: Mapping[str, Callable[[str], str]] = {"double": _double, "ansi": _ansi}


def _unescape(found: re.Match[str]) -> str:
    u, long, x, octal, other = found.groups()
    if other is not None:
        return _ESCAPES.get(other, other)
    number = int(octal, 8) % 256 if octal else int(u or long or x, 16)
    return chr(number) if number < 0x110000 else "\ufffd"
