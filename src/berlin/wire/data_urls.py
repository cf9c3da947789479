"""Files in requests: the `data:` URLs that programs actually write, and their contents."""

from __future__ import annotations

import re
from typing import NamedTuple

_HEAD = re.compile(r"data:([^;,]*)((?:;[^;,]*)*)", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)
_BLANKS = re.compile(r"\s+")

# Media types that many programs send and services refuse.
_ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "application/x-pdf": "application/pdf",
}

# The base64 of the first bytes of a file: its magic number.
_MAGIC = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
    "JVBERi0": "application/pdf",
}


class Data(NamedTuple):
    """The contents of a `data:` URL.

    Attributes:
        media_type: in lower case and without parameters, as services know it.
        base64: the bytes, without line ends.
    """

    media_type: str
    base64: str


def parse_data_url(url: str) -> Data | None:
    """Return the contents of a URL, or `None` if it is not a base64 `data:` URL."""
    head, comma, body = url.partition(",")
    found = _HEAD.fullmatch(head)
    if found is None or not comma or not found[2].lower().rstrip().endswith(";base64"):
        return None
    data = clean_base64(body)
    if not data:
        return None
    named = found[1].strip().lower()
    return Data(_ALIASES.get(named, named) or media_type_of(data), data)


def clean_base64(text: str) -> str:
    """Return base64 without white space; `""` if invalid."""
    data = _BLANKS.sub("", text) if not _BASE64.fullmatch(text) else text
    if not _BASE64.fullmatch(data):
        return ""
    # Some encoders leave out the padding.
    return data if data.endswith("=") or len(data) % 4 in (0, 1) else data + "=" * (-len(data) % 4)


def media_type_of(data: str) -> str:
    """Return the media type by the first bytes of a file in base64; `""` if unknown."""
    return next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "")


def make_data_url(media_type: str, data: str) -> str:
    """Return the URL that contains a file."""
    return f"data:{media_type};base64,{data}"
