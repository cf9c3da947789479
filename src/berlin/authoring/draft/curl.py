"""Reads a curl command as browsers copy it ("copy as cURL (bash)"), and as people write it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from urllib.parse import quote_plus

from berlin.authoring.draft.captured import Captured
from berlin.errors import ConfigurationError

_LONG = {
    "request": "X",
    "header": "H",
    "data": "d",
    "data-raw": "raw",
    "data-binary": "d",
    "data-ascii": "d",
    "data-urlencode": "urlencode",
    "json": "json",
    "form": "F",
    "form-string": "F",
    "user": "u",
    "cookie": "b",
    "user-agent": "A",
    "referer": "e",
    "url": "url",
    "get": "G",
    "head": "I",
}
# What takes a word that says nothing of the service.
_SKIPPED = frozenset("AcCDeEhKmoPQrtTUwxyYz")
_SKIPPED_LONG = frozenset(
    [
        "cacert",
        "capath",
        "cert",
        "cert-type",
        "ciphers",
        "config",
        "connect-timeout",
        "connect-to",
        "cookie-jar",
        "crlfile",
        "dump-header",
        "interface",
        "key",
        "key-type",
        "limit-rate",
        "max-filesize",
        "max-redirs",
        "max-time",
        "netrc-file",
        "noproxy",
        "oauth2-bearer",
        "output",
        "pass",
        "preproxy",
        "proxy",
        "proxy-header",
        "proxy-user",
        "range",
        "resolve",
        "retry",
        "retry-delay",
        "retry-max-time",
        "speed-limit",
        "speed-time",
        "stderr",
        "time-cond",
        "tls-max",
        "trace",
        "trace-ascii",
        "unix-socket",
        "upload-file",
        "write-out",
    ]
)
_WITH_WORD = frozenset("XHdFub") | _SKIPPED
_ENDS = frozenset({"|", "||", "&&", ";", "&", ">", ">>", "2>&1"})
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


def parse_curl(text: str) -> Captured:
    """Return the request that a curl command sends.

    Raises:
        ConfigurationError: if it is no curl command, or one that reads files.
    """
    words = list(_words(text.strip()))
    if not words or words[0].rpartition("/")[2].removesuffix(".exe") != "curl":
        raise ConfigurationError(
            "this is no curl command: in the network tab of the browser, copy the request "
            '"as cURL (bash)"'
        )
    return _Command(words[1:]).request()


class _Command:
    """The options of a command, and what they come to."""

    def __init__(self, words: list[str]) -> None:
        self._url = self._method = ""
        self._headers: list[tuple[str, str]] = []
        self._data: list[str] = []
        self._fields: list[tuple[str, str]] = []
        self._in_query = self._is_json = False
        options = _options(words)
        for option, value in options:
            self._take(option, value)

    def request(self) -> Captured:
        """Return the request. Raises ConfigurationError."""
        url = self._url if "://" in self._url or not self._url else f"http://{self._url}"
        body = ("" if self._is_json else "&").join(self._data)
        if self._in_query and body:
            url += ("&" if "?" in url else "?") + body
            body = ""
        names = {name.lower() for name, _ in self._headers}
        if self._is_json and "content-type" not in names:
            self._headers.append(("Content-Type", "application/json"))
        method = self._method or ("POST" if body or self._fields else "GET")
        return Captured(
            method.upper(),
            url,
            tuple(self._headers),
            body.encode("utf-8", "replace"),
            tuple(self._fields),
        )

    def _take(self, option: str, value: str) -> None:
        match option:
            case "url" | "" if not self._url or "://" in value:
                self._url = value
            case "X":
                self._method = value
            case "H":
                name, _, rest = value.partition(":")
                if rest.strip():
                    self._headers.append((name.strip(), rest.strip()))
            case "d" | "json":
                self._is_json |= option == "json"
                self._data.append(_no_file(value))
            case "raw":
                self._data.append(value)
            case "urlencode":
                name, separator, rest = value.partition("=")
                encoded = quote_plus(_no_file(rest if separator else name), errors="replace")
                self._data.append(f"{name}={encoded}" if separator and name else encoded)
            case "F":
                name, _, rest = value.partition("=")
                self._fields.append((name, _no_file(rest, "@<")))
            case "u":
                pair = base64.b64encode(value.encode("utf-8", "replace")).decode()
                self._headers.append(("Authorization", f"Basic {pair}"))
            case "b" if "=" in value:
                self._headers.append(("Cookie", value))
            case "G":
                self._in_query = True
            case "I":
                self._method = "HEAD"


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Give options by their short names with their values; `""` for what is no option."""
    left = iter(words)
    for word in left:
        if word in _ENDS:
            return
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            if name in _SKIPPED_LONG:
                next(left, "")
            elif name in ("get", "head"):
                yield _LONG[name], ""
            elif name in _LONG:
                yield _LONG[name], value or _next(left, word)
        elif word.startswith("-") and word != "-":
            for n, letter in enumerate(word[1:], 2):
                if letter in _WITH_WORD:
                    yield letter, word[n:] or _next(left, f"-{letter}")
                    break
                yield letter, ""
        else:
            yield "", word


def _next(words: Iterator[str], option: str) -> str:
    word = next(words, None)
    if word is None:
        raise ConfigurationError(f"the curl command ends behind {option[:40]}: paste all of it")
    return word


def _no_file(value: str, marks: str = "@") -> str:
    if value[:1] and value[0] in marks:
        raise ConfigurationError(
            f"the curl command reads the file {value[1:60]}: write what is in it instead"
        )
    return value


def _words(text: str) -> Iterator[str]:
    """Cut a command into words as a POSIX shell does, with the quotes $'…' of bash."""
    if re.search(r'\s\^"', text) or "^\n" in text:
        raise ConfigurationError('this is for the shell of Windows: copy it "as cURL (bash)"')
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
    # Halves of a pair that stand one behind the other are one character.
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
