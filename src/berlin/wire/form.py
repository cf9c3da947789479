"""Form bodies (`application/x-www-form-urlencoded`) of templates."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from berlin.errors import InvalidRequestError


def encode_form(fields: Mapping[str, object]) -> bytes:
    """Return a form body.

    Raises:
        InvalidRequestError: if a field is no text or number.
    """
    for name, value in fields.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InvalidRequestError(f"{name}: a form carries text and numbers only")
    try:
        return urlencode({name: str(value) for name, value in fields.items()}).encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError("a form field holds half of a surrogate pair") from error
