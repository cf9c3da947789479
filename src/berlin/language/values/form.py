"""Form bodies: `application/x-www-form-urlencoded` and `multipart/form-data` (RFC 7578)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

import msgspec

from berlin.errors import InvalidRequestError

FORM = "application/x-www-form-urlencoded"


class File(msgspec.Struct, frozen=True):
    """A field of a multipart body that is a file."""

    name: str
    media_type: str
    data: bytes

    def __repr__(self) -> str:
        return f"File({self.media_type}, {len(self.data)} bytes)"


def encode_form(fields: Mapping[str, object]) -> bytes:
    """Return a form body. Raises InvalidRequestError."""
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
    """Return a multipart body and its content type. Raises InvalidRequestError."""
    boundary = uuid.uuid4().hex
    files = {name: value for name, value in fields.items() if isinstance(value, File)}
    texts = _texts({name: value for name, value in fields.items() if name not in files})
    pieces: list[bytes] = []
    try:
        for name in fields:
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"'
            file = files.get(name)
            if file is None:
                pieces.append(f"{head}\r\n\r\n{texts[name]}\r\n".encode())
                continue
            head += f'; filename="{_quoted(file.name)}"\r\nContent-Type: {file.media_type}'
            pieces += [f"{head}\r\n\r\n".encode(), file.data, b"\r\n"]
    except UnicodeEncodeError as error:
        raise InvalidRequestError("a form field contains half of a surrogate pair") from error
    pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces), f"multipart/form-data; boundary={boundary}"


def _quoted(name: str) -> str:
    """Return a name for use between quotes: nothing in it ends them, or is read as an escape."""
    return _NOT_QUOTED.sub(lambda found: f"%{ord(found[0]):02X}", name)


_NOT_QUOTED = re.compile(r'[\x00-\x1f"\\\x7f]')


def _texts(fields: Mapping[str, object]) -> dict[str, str]:
    for name, value in fields.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InvalidRequestError(f"{name}: a form carries text and numbers only")
    return {name: str(value) for name, value in fields.items()}
