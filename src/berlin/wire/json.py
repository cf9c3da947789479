"""JSON that others wrote and JSON that others shall read, with our errors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

import msgspec

from berlin.errors import InvalidRequestError

# All that decoding foreign bytes can raise: bad JSON, bad UTF-8, nesting that is too deep.
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decoded_or_none(data: bytes) -> Any:
    """Return a JSON value, or `None` for bytes that are not JSON."""
    try:
        return msgspec.json.decode(data)
    except DECODE_ERRORS:
        return None


MAX_VALUES = 500_000
"""Of a client's body. A decoder at work lets nothing else run, so it gets no more than that."""

# Ends of lines to some readers of text, though not to readers of JSON.
_LINE_ENDS = (
    (b"\xc2\x85", b"\\u0085"),
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)


encode_value = msgspec.json.Encoder().encode
"""Returns JSON, which may hold what some readers take for the end of a line."""


def encode_line(value: Any) -> bytes:
    """Return JSON that is one line to every reader, whatever it takes for the end of a line."""
    encoded = encode_value(value)
    return encoded if encoded.isascii() else escape_line_ends(encoded)


def escape_line_ends(encoded: bytes) -> bytes:
    """Return JSON without any character that some reader takes for the end of a line."""
    for end, escaped in _LINE_ENDS:
        encoded = encoded.replace(end, escaped)
    return encoded


_COMMA_OR_STRING = re.compile(rb',|"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def check_size(body: bytes) -> None:
    """Refuse a request of so many values that to decode it would stop every thread for seconds.

    Raises:
        InvalidRequestError: if it has more than `MAX_VALUES`.
    """
    if body.count(b",") <= MAX_VALUES:
        return
    # Most are in text. Each match is a call of its own, so that other threads get their turn.
    commas = (match for match in _COMMA_OR_STRING.finditer(body) if match[0] == b",")
    if next(islice(commas, MAX_VALUES, None), None) is not None:
        raise InvalidRequestError(f"the body has more than {MAX_VALUES} values")


def decode_request_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in the body of a client's request.

    Raises:
        InvalidRequestError: if it holds something else.
    """
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
        InvalidRequestError: if it is none.
    """
    try:
        return msgspec.json.decode(text)
    except DECODE_ERRORS as error:
        raise InvalidRequestError(f"{text[:80]!r} is not JSON: {error}") from error


def encode_body(document: Mapping[str, Any]) -> bytes:
    """Return a request body.

    Raises:
        InvalidRequestError: if JSON cannot carry a value; it names the member.
    """
    try:
        return _dump(document)
    except _ENCODE_ERRORS as error:
        raise InvalidRequestError(f"{_culprit(document)}: {_why(error)}") from error


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
            return "nested too deep"
        case ValueError():
            return "NaN, infinity or a circular value, which JSON cannot carry"
        case _:
            return f"not a JSON value ({error})"
