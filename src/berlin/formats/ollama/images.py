"""Images of Ollama's format: base64 and nothing else, so the kind is told by its first bytes."""

from __future__ import annotations

import re

from berlin.errors import InvalidRequestError

# The base64 of the first bytes of a file: its magic number.
MAGIC = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
}

_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)
_DATA_URL = re.compile(r"data:[^,]*;base64", re.IGNORECASE)


def encode_image(url: str, param: str) -> str:
    """Return the base64 in a URL.

    Raises:
        InvalidRequestError: if the URL does not hold the image itself.
    """
    head, _, data = url.partition(",")
    if not _DATA_URL.fullmatch(head) or not _BASE64.fullmatch(data):
        raise InvalidRequestError.about(
            param, "this service takes images only as data:image/…;base64,… URLs"
        )
    return data


def decode_image(data: str, param: str) -> str:
    """Return the URL that holds an image.

    Raises:
        InvalidRequestError: if it is no base64, or of a kind that is not known.
    """
    kind = next((kind for magic, kind in MAGIC.items() if data.startswith(magic)), "")
    if not kind or not _BASE64.fullmatch(data):
        raise InvalidRequestError.about(param, "must be the base64 of a PNG, JPEG, GIF or WebP")
    return f"data:{kind};base64,{data}"
