"""Reads a curl command as browsers copy it ("copy as cURL (bash)"), and as people write it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from urllib.parse import quote_plus

from berlin.errors import ConfigurationError
from berlin.language.values.form import encode_multipart
from berlin.workbench.draft.sources.captured import Captured
from berlin.workbench.draft.sources.shell_words import split_words

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
    "oauth2-bearer": "bearer",
    "cookie": "b",
    "user-agent": "A",
    "referer": "e",
    "url": "url",
    "get": "G",
    "head": "I",
}
# Options with an argument that says nothing about the service.
_SKIPPED = frozenset("AcCDeEhKmoPQrtTUwxyYz")
_SKIPPED_LONG = frozenset(
    {
        *("cacert", "capath", "cert", "cert-type", "ciphers", "config", "connect-timeout"),
        *("connect-to", "cookie-jar", "crlfile", "dump-header", "interface", "key", "key-type"),
        *("limit-rate", "max-filesize", "max-redirs", "max-time", "netrc-file", "noproxy"),
        *("output", "pass", "preproxy", "proxy", "proxy-header", "proxy-user"),
        *("range", "resolve", "retry", "retry-delay", "retry-max-time", "speed-limit"),
        *("speed-time", "stderr", "time-cond", "tls-max", "trace", "trace-ascii", "unix-socket"),
        *("upload-file", "write-out"),
    }
)
_WITH_WORD = frozenset("XHdFub") | _SKIPPED
_ENDS = frozenset({"|", "||", "&&", ";", "&", ">", ">>", "2>&1"})


def parse_curl(text: str) -> Captured:
    """Return the request that a curl command sends.

    Raises:
        ConfigurationError: if it is not a curl command, or one that reads files.
    """
    text = text.strip().removeprefix("$ ")
    if re.match(r'\S+\s+(-\S+\s+)*\^?"', text) and re.search(r'\^["\r\n]', text):
        # As browsers copy it for the shell of Windows.
        text = re.sub(r"\^(\r?\n|.)", lambda found: found[1].replace("\n", " "), text)
    words = list(split_words(text))
    if not words or words[0].rpartition("/")[2].removesuffix(".exe") != "curl":
        raise ConfigurationError(
            "this is not a curl command: in the network tab of the browser, copy the request "
            '"as cURL (bash)"'
        )
    return _Command(words[1:]).request()


class _Command:
    """The options of a command and the request they describe."""

    def __init__(self, words: list[str]) -> None:
        self._url = self._method = ""
        self._headers: list[tuple[str, str]] = []
        self._data: list[str] = []
        self._fields: dict[str, str] = {}
        self._files: list[str] = []
        self._in_query = self._is_json = False
        options = _options(words)
        for option, value in options:
            self._take(option, value)

    def request(self) -> Captured:
        """Return the request. Raises ConfigurationError."""
        url = self._url if "://" in self._url or not self._url else f"http://{self._url}"
        body = ("" if self._is_json else "&").join(self._data).encode("utf-8", "replace")
        if self._in_query and body:
            url += ("&" if "?" in url else "?") + body.decode()
            body = b""
        names = {name.lower() for name, _ in self._headers}
        if self._is_json and "content-type" not in names:
            self._headers.append(("Content-Type", "application/json"))
        if self._fields:
            body, kind = encode_multipart(self._fields)
            self._headers.append(("Content-Type", kind))
        method = self._method or ("POST" if body else "GET")
        return Captured(method.upper(), url, tuple(self._headers), body, tuple(self._files))

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
                if rest.startswith(("@", "<")):
                    self._files.append(name)
                else:
                    self._fields[name] = re.split(";(?:type|headers|encoder)=", rest)[0]
            case "u":
                pair = base64.b64encode(value.encode("utf-8", "replace")).decode()
                self._headers.append(("Authorization", f"Basic {pair}"))
            case "bearer":
                self._headers.append(("Authorization", f"Bearer {value}"))
            case "b" if "=" in value:
                self._headers.append(("Cookie", value))
            case "G":
                self._in_query = True
            case "I":
                self._method = "HEAD"


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield options by their short names with their values; `""` if not an option."""
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


def _no_file(value: str) -> str:
    if value.startswith("@"):
        raise ConfigurationError(
            f"the curl command reads the file {value[1:60]}: write its contents instead"
        )
    return value
