"""A login seen from the service's end: the step of a recipe, read backwards."""

from __future__ import annotations

from typing import Any

from berlin.errors import InvalidRequestError
from berlin.wire.json import decode_request_object, encode_body
from berlin.wire.pointer import parse_pointer, set_at
from berlin.wire.template import Template


class ExchangeFormat:
    """Reads what a client sent by the template that it filled, and answers where it will look.

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

    def decode_request(self, body: bytes) -> dict[str, str]:
        """Return the values in a request's body. Raises InvalidRequestError."""
        values = self._template.parse(decode_request_object(body))
        for name, value in values.items():
            if not isinstance(value, str):
                raise InvalidRequestError(f"{name} must be text")
        return values

    def encode_response(self, result: str) -> bytes:
        """Return an answer's body that holds the value."""
        document: dict[str, Any] = {}
        set_at(document, self._result, result)
        return encode_body(document)
