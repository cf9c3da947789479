"""Shortens text from elsewhere so that it is safe to show in an error."""

from __future__ import annotations

from berlin.types.masking import CUT


def snippet(data: bytes | str, limit: int = 200) -> str:
    """Return the beginning of text from elsewhere as one printable line."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    line = " ".join(text[: 4 * limit].split())
    line = "".join(c if c.isprintable() else "\ufffd" for c in line)
    return line if len(line) <= limit else f"{line[:limit]}{CUT}"
