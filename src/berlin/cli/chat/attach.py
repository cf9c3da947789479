"""Files attached to a question: images, documents, and text."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import click

from berlin.cli.chat.standard_input import as_text, read_whole
from berlin.cli.input_file import read_input, why
from berlin.cli.options import as_typed
from berlin.types.messages import FilePart, ImagePart, Part, TextPart

# The first bytes of each kind of file.
_IMAGES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


def attach(names: tuple[str, ...]) -> tuple[Part, ...]:
    """Return the parts for the named files.

    Args:
        names: paths; `-` is standard input; an `https:` URL is an image there.

    Raises:
        click.UsageError: if one cannot be read, is too large, or has an unknown type.
    """
    return tuple(_part(name) for name in names)


def _part(name: str) -> Part:
    if name.startswith("https://"):
        return ImagePart(name)
    data = _read(name)
    kind = _image_type(data)
    if kind is not None:
        return ImagePart(_data_url(kind, data))
    if data.startswith(b"%PDF-"):
        return FilePart(_data_url("application/pdf", data), Path(name).name)
    text = as_text(data)
    if text is None:
        raise click.UsageError(
            f"{name} is neither text in UTF-8 nor an image (PNG, JPEG, GIF, WebP) nor a PDF"
        )
    fence = "```"
    while fence in text:
        fence += "`"
    title = "standard input" if name == "-" else as_typed(Path(name).name, "-a")
    return TextPart(f"\n\n{title}:\n{fence}\n{text.rstrip()}\n{fence}\n")


def _read(name: str) -> bytes:
    if name == "-":
        if sys.stdin is None or sys.stdin.closed:
            raise click.UsageError("-a -: standard input is closed")
        return read_whole(sys.stdin.buffer, "standard input")
    try:
        return read_input(name)
    except OSError as error:
        hint = "; a URL must begin with https://" if "://" in name else ""
        raise click.UsageError(f"-a {name}: {why(error)}{hint}") from error


def _image_type(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for head, kind in _IMAGES.items() if data.startswith(head)), None)


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
