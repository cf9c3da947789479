"""A recipe step in reverse: how well a request matches it, and the values it carries."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from berlin.errors import InvalidRequestError
from berlin.language.step import BODIES, Step
from berlin.language.values.form import File, decode_form
from berlin.language.values.text import Call, Piece, Value, parse_text
from berlin.wire.json import DECODE_ERRORS

_NO_BODY_AT_ALL = 1000


class Received(msgspec.Struct, frozen=True):
    """A request as the service receives it.

    Attributes:
        path: below the base URL, still percent-encoded.
        query: parameters of the URL.
        headers: names in lower case.
        cookies: by name.
        body: the bytes of the body.
    """

    method: str
    path: str
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    cookies: Mapping[str, str] = {}
    body: bytes = b""


class StepReader:
    """Reads requests that a step describes.

    Args:
        path: the path it is requested at, instead of the step's own.

    Attributes:
        path: the path it is requested at, without the query.
        names: the placeholders used in it.
    """

    def __init__(self, step: Step, path: str) -> None:
        self.method = step.method
        self.path, _, more = path.partition("?")
        self._path = _pattern(self.path, "[^/]*")
        self._query = {**dict(parse_qsl(more, keep_blank_values=True)), **step.query}
        self._headers = {name.lower(): value for name, value in step.headers.items()}
        self._bodies = {kind: getattr(step, kind) for kind in BODIES}
        self.names = set(_names([self.path, self._query, self._headers, self._bodies]))

    def serves(self, received: Received) -> bool:
        """Whether a request is for this path."""
        return self.method == received.method and bool(self._path.fullmatch(received.path))

    def difference(self, received: Received) -> int:
        """Return how much a request to this path differs from the description."""
        try:
            body = self._decode(received)
        except InvalidRequestError:
            return _NO_BODY_AT_ALL
        return _differ(self._query, received.query) + _differ(self._template, body)

    def read(self, received: Received) -> dict[str, Any]:
        """Return the values of the placeholders; those that are missing are left out.

        Raises:
            InvalidRequestError: if the body does not have the described encoding.
        """
        found = self._path.fullmatch(received.path)
        segments = map(unquote, found.groups()) if found else ()
        return {
            **dict(_values(self.path, segments)),
            **dict(_find(self._query, received.query)),
            **dict(_find(self._headers, received.headers)),
            **dict(_find(self._template, self._decode(received))),
        }

    @property
    def _template(self) -> Any:
        return next((body for body in self._bodies.values() if body is not None), None)

    def _decode(self, received: Received) -> Any:
        if self._bodies["form"] is not None:
            return decode_form(received.body)
        if self._bodies["multipart"] is not None:
            return decode_multipart(received.body, received.headers.get("content-type", ""))
        if self._bodies["body"] is not None:
            return received.body.decode("utf-8", "replace")
        if self._bodies["json"] is None:
            return None
        try:
            return msgspec.json.decode(received.body)
        except DECODE_ERRORS as error:
            raise InvalidRequestError(f"the body is not JSON: {error}") from error


def read_text(template: str, text: str) -> dict[str, str] | None:
    """Return the values in a text with placeholders; `None` if the text does not match."""
    found = _pattern(template, ".*").fullmatch(text)
    return None if found is None else dict(_values(template, found.groups()))


def decode_basic(encoded: str) -> str:
    """Return account and password of basic authentication (RFC 7617); `""` if there are none."""
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except ValueError:
        return ""


def decode_multipart(body: bytes, content_type: str) -> dict[str, str | File]:
    """Return the fields of a multipart body (RFC 7578), with files as they are.

    Raises:
        InvalidRequestError: if it is not one.
    """
    boundary = re.search(r'boundary="?([^";]+)', content_type)
    if boundary is None:
        raise InvalidRequestError("the body is not multipart/form-data with a boundary")
    fields: dict[str, str | File] = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        given = {
            found[1].lower(): found[3] if found[2] is None else found[2]
            for found in _PARAMETER.finditer(head)
        }
        if b"name" not in given:
            raise InvalidRequestError("a part of the multipart body has no name")
        name = _unquoted(given[b"name"])
        if b"filename" not in given and b"filename*" not in given:
            fields[name] = value.decode("utf-8", "replace")
            continue
        kind = re.search(rb"content-type:\s*([^\s;]+)", head, re.IGNORECASE)
        media_type = kind[1].decode("latin-1") if kind else "application/octet-stream"
        fields[name] = File(_unquoted(given.get(b"filename", b"")), media_type, value)
    return fields


_PARAMETER = re.compile(rb';\s*(name|filename\*?)=(?:"([^"\r\n]*)"|([^\s;"]*))', re.IGNORECASE)
_CODE = re.compile("%(0[0-9A-F]|1[0-9A-F]|22|5C|7F)")


def _unquoted(name: bytes) -> str:
    return _CODE.sub(lambda code: chr(int(code[1], 16)), name.decode("utf-8", "replace"))


@cache
def _pattern(template: str, value: str) -> re.Pattern[str]:
    """Return a pattern that finds the values of the placeholders in a text."""
    pieces = (
        re.escape(piece)
        if isinstance(piece, str)
        else f"({value})"
        if _read_back(piece) is not None
        else f"(?:{_several(piece) or value})"  # cannot be read back
        for piece in parse_text(template)
    )
    return re.compile("".join(pieces), re.DOTALL)


def _several(piece: Piece) -> str:
    return ".*" if isinstance(piece, Call) and piece.function == "segments" else ""


def _values(template: str, groups: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yield the values that were captured in a text, each with its name."""
    reads = filter(None, map(_read_back, parse_text(template)))
    for (name, decode), captured in zip(reads, groups, strict=False):
        yield name, decode(captured)


def _read_back(piece: Piece) -> tuple[str, Callable[[str], Any]] | None:
    """Return the name of a piece's value and how it is read; `None` if it cannot be."""
    match piece:
        case Value(name=name):
            return name, str
        case Call(function="json", arguments=((Value(name=name),),)):
            return name, _as_json
        case _:
            return None


def _as_json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except DECODE_ERRORS as error:
        raise InvalidRequestError(f"the body has no JSON in a field: {error}") from error


def _names(tree: Any) -> Iterator[str]:
    match tree:
        case str():
            yield from (read[0] for piece in parse_text(tree) if (read := _read_back(piece)))
        case dict():
            for value in tree.values():
                yield from _names(value)
        case list():
            for value in tree:
                yield from _names(value)


def _find(tree: Any, document: Any) -> Iterator[tuple[str, Any]]:
    match tree:
        case str():
            pieces = parse_text(tree)
            names = list(_names(tree))
            if len(pieces) == 1 and names:
                yield names[0], document
            elif names and isinstance(document, str):
                found = _pattern(tree, ".*").fullmatch(document)
                yield from _values(tree, found.groups() if found else ())
        case dict() if isinstance(document, Mapping):
            for name, value in tree.items():
                if name in document:
                    yield from _find(value, document[name])
        case list() if isinstance(document, list):
            for value, item in zip(tree, document, strict=False):
                yield from _find(value, item)


def _differ(tree: Any, document: Any) -> int:
    """Return how many members differ from the description."""
    if isinstance(tree, dict) and isinstance(document, Mapping):
        apart = tree.keys() ^ document.keys()
        return len(apart) + sum(_differ(tree[n], document[n]) for n in tree.keys() & document)
    if isinstance(tree, str):
        if any(not isinstance(piece, str) for piece in parse_text(tree)):
            return 0
        tree = "".join(map(str, parse_text(tree)))
    # A form has text where the recipe has numbers.
    return int(str(tree) != str(document)) if not isinstance(tree, list) else 0
