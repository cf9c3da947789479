"""One JSON request and its JSON answer, both ways: a step of a login."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from berlin.errors import InvalidRequestError, ProtocolError
from berlin.wire.format import snippet
from berlin.wire.json import DECODE_ERRORS, encode_body
from berlin.wire.pointer import get_at, parse_pointer, set_at
from berlin.wire.template import Template


class ExchangeFormat:
    """Describes a request by a template and the value wanted of its answer by a pointer.

    Args:
        body: the request as JSON with placeholders.
        names: the placeholders that may stand in it.
        result: pointer to the value in the answer.

    Raises:
        ConfigurationError: if the description cannot be right.
    """

    def __init__(self, body: dict[str, Any], names: frozenset[str], result: str) -> None:
        self._template = Template(body, names)
        self._result = parse_pointer(result)

    def encode_request(self, values: Mapping[str, str]) -> bytes:
        """Return the request's body. Raises InvalidRequestError."""
        return encode_body(self._template.render(values))

    def decode_response(self, body: bytes) -> Any:
        """Return the value at the pointer, or `MISSING`.

        Raises:
            ProtocolError: if the body is not a JSON object.
        """
        try:
            document = msgspec.json.decode(body)
        except DECODE_ERRORS as error:
            raise ProtocolError(f"expected JSON, got {snippet(body)!r}") from error
        if not isinstance(document, dict):
            raise ProtocolError(f"expected a JSON object, got {snippet(body)!r}")
        return get_at(document, self._result)

    def decode_request(self, body: bytes) -> dict[str, str]:
        """Return the values in a request's body. Raises InvalidRequestError."""
        try:
            document = msgspec.json.decode(body)
        except DECODE_ERRORS as error:
            raise InvalidRequestError(f"the body is not JSON: {error}") from error
        values = self._template.parse(document)
        for name, value in values.items():
            if not isinstance(value, str):
                raise InvalidRequestError(f"{name} must be text")
        return values

    def encode_response(self, result: str) -> bytes:
        """Return an answer's body that holds the value."""
        document: dict[str, Any] = {}
        set_at(document, self._result, result)
        return encode_body(document)
