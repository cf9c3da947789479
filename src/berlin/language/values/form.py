"""Form bodies: `application/x-www-form-urlencoded` and `multipart/form-data` (RFC 7578)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from berlin.errors import InvalidRequestError

FORM = "application/x-www-form-urlencoded"


def encode_form(fields: Mapping[str, object]) -> bytes:
    """Return a form body.

    Raises:
        InvalidRequestError: if a field is neither text nor a number.
    """
    try:
        return urlencode(_texts(fields)).encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError("a form field contains half of a surrogate pair") from error


def decode_form(body: bytes) -> dict[str, str]:
    """Return the fields of a form body. Raises InvalidRequestError."""
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000))
    except ValueError as error:
        raise InvalidRequestError(f"the body is not a form: {error}") from error


def encode_multipart(fields: Mapping[str, object]) -> tuple[bytes, str]:
    """Return a multipart body and its content type.

    Raises:
        InvalidRequestError: if a field is neither text nor a number.
    """
    boundary = uuid.uuid4().hex
    lines = []
    for name, value in _texts(fields).items():
        quoted = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        lines += [f"--{boundary}", f'Content-Disposition: form-data; name="{quoted}"', "", value]
    try:
        body = "\r\n".join([*lines, f"--{boundary}--", ""]).encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError("a form field contains half of a surrogate pair") from error
    return body, f"multipart/form-data; boundary={boundary}"


def _texts(fields: Mapping[str, object]) -> dict[str, str]:
    for name, value in fields.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InvalidRequestError(f"{name}: a form carries text and numbers only")
    return {name: str(value) for name, value in fields.items()}
