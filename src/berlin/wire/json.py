"""Decodes JSON written by others and encodes JSON for others, with Berlin's errors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from berlin.errors import InvalidRequestError

# Everything that decoding foreign bytes can raise: bad JSON, bad UTF-8, nesting that is too deep.
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


MAX_VALUES = 500_000
"""The most values of a document: decoding holds the interpreter's lock."""


def decoded_or_none(data: bytes, most: int = MAX_VALUES) -> Any:
    """Return a JSON value, or `None` for bytes that are not JSON, or have too many values."""
    if has_many_values(data, most):
        return None
    try:
        return msgspec.json.decode(data)
    except DECODE_ERRORS:
        return None


# Line ends to some text readers, but not in JSON.
_LINE_ENDS = (
    (b"\xc2\x85", b"\\u0085"),
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)


encode_value: Callable[[Any], bytes] = msgspec.json.Encoder().encode
"""Returns JSON, which may contain characters that some readers treat as line ends."""


def encode_line(value: Any) -> bytes:
    """Return JSON that is one line to every reader, whatever it treats as a line end."""
    encoded = encode_value(value)
    return encoded if encoded.isascii() else escape_line_ends(encoded)


def escape_line_ends(encoded: bytes) -> bytes:
    """Return JSON without any character that some readers treat as a line end."""
    for end, escaped in _LINE_ENDS:
        encoded = encoded.replace(end, escaped)
    return encoded


_CHUNK_BYTES = 64 * 1024


def has_many_values(document: bytes, most: int = MAX_VALUES) -> bool:
    """Return whether a document has so many values that decoding it would block all threads."""
    # A value takes a byte. Of longer documents, nearly all pass the second cheap test: most of
    # these characters are in text.
    return (
        len(document) > most
        and document.count(b",") + document.count(b"{") + document.count(b"[") > most
        and _marks_outside_text(document) > most
    )


def check_size(body: bytes) -> None:
    """Refuse a client's document that `has_many_values`.

    Raises:
        InvalidRequestError: if it has more than `MAX_VALUES`.
    """
    if has_many_values(body):
        raise InvalidRequestError(f"the body has more than {MAX_VALUES} values")


def _marks_outside_text(body: bytes) -> int:
    """Count the commas between values, and what opens objects and lists, in one pass.

    Backslashes outside of text are not JSON.

    In chunks, so that other threads get their turn, and without a regular expression: one that
    searches for the end of a text may scan the rest of the body from each quote.
    """
    count, inside, start = 0, False, 0
    while start < len(body):
        end = start + _CHUNK_BYTES
        chunk = body[start:end]
        if (len(chunk) - len(chunk.rstrip(b"\\"))) % 2:  # never cut between `\` and what it escapes
            end += 1
            chunk = body[start:end]
        pieces = chunk.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        for piece in pieces[inside::2]:
            count += piece.count(b",") + piece.count(b"{") + piece.count(b"[")
        inside ^= len(pieces) % 2 == 0
        start = end
    return count


def check_text(body: bytes) -> None:
    """Refuse a request that is not UTF-8, also where nobody reads the member with the bad bytes.

    Raises:
        InvalidRequestError: if it is not.
    """
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"the body is not UTF-8 text (byte {error.start})") from error


def mend_text(body: bytes) -> bytes:
    """Return a client's JSON without a byte order mark and without halves of surrogate pairs.

    Strings of JavaScript may be cut within a pair, and once half of one is in a conversation, each
    further request contains it. It becomes U+FFFD.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    if b"\\u" not in body:
        return body
    # An escaped backslash in another form, so that each `\u` left is an escape.
    return _HALF.sub(lambda _: b"\\ufffd", body.replace(b"\\\\", b"\\u005c"))


_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_HALF = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, _HIGH, _LOW))


def decode_request_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in the body of a client's request. Raises InvalidRequestError."""
    check_size(body)
    try:
        document = msgspec.json.decode(body)
    except DECODE_ERRORS as error:
        raise InvalidRequestError(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidRequestError("the body must be a JSON object")
    return document


def loads(text: str) -> Any:
    """Return the value of JSON text that is part of a request, such as a tool's schema.

    Raises:
        InvalidRequestError: if it is not JSON.
    """
    if len(text) > MAX_VALUES:  # only then can it have too many values
        check_size(text.encode("utf-8", "surrogatepass"))
    try:
        return msgspec.json.decode(text)
    except DECODE_ERRORS as error:
        raise InvalidRequestError(f"{text[:80]!r} is not JSON: {error}") from error


def encode_body(document: Mapping[str, Any]) -> bytes:
    """Return a request body.

    Raises:
        InvalidRequestError: if JSON cannot represent a value; the error names the member.
    """
    try:
        for value in document.values():
            if isinstance(value, list) and len(value) > _LONG_LIST:
                members = (f"{_encode(name)}:{_encode_parts(v)}" for name, v in document.items())
                return "".join(("{", ",".join(members), "}")).encode()
        return _dump(document)
    except _ENCODE_ERRORS as error:
        raise InvalidRequestError(f"{_culprit(document)}: {_why(error)}") from error


_LONG_LIST = 5_000


def _encode_parts(value: Any) -> str:
    """Encode a value in parts: one call holds the interpreter's lock, also in a thread."""
    if not isinstance(value, list) or len(value) <= _LONG_LIST:
        return _encode(value)
    slices = (value[i : i + _LONG_LIST] for i in range(0, len(value), _LONG_LIST))
    return f"[{','.join([_encode(part)[1:-1] for part in slices])}]"


# Python's own encoder refuses NaN and lone surrogates, which faster ones turn into something else.
_ENCODE_ERRORS = (TypeError, ValueError, RecursionError)


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _dump(document: Any) -> bytes:
    return _encode(document).encode()


def _culprit(document: Mapping[str, Any]) -> str:
    for name, value in document.items():
        try:
            _dump(value)
        except _ENCODE_ERRORS:
            return f"{name}.{_culprit(value)}" if isinstance(value, Mapping) and value else name
    return "a name"


def _why(error: Exception) -> str:
    match error:
        case UnicodeEncodeError():
            return "half of a surrogate pair, which UTF-8 cannot carry; clean the text first"
        case RecursionError():
            return "nested too deeply"
        case ValueError():
            return "NaN, infinity or a circular value, which JSON cannot carry"
        case _:
            return f"not a JSON value ({error})"
