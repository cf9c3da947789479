"""Mends documents that are not quite JSON, as services send them.

What the text of an answer says is never guessed at: only its characters are repaired, and numbers
that JSON does not have are unknown.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any


class Mender:
    """Mends the documents of one answer.

    A pair of surrogates that was cut between two pieces of text is joined; half a pair, and bytes
    that are not UTF-8, become U+FFFD. Control characters within strings are taken as they are, NaN
    and infinity as `null`. A prefix `data:` that a proxy has doubled is removed.
    """

    def __init__(self) -> None:
        self._high = ""

    def mend(self, document: bytes) -> Any:
        """Return the value of a document that is not JSON; `None` if it cannot be mended."""
        text = document.decode("utf-8", "replace").strip()
        if text.startswith("data:"):
            text = text.removeprefix("data:")
        try:
            return json.loads(
                _ESCAPE.sub(self._join, text),
                strict=False,
                parse_float=_finite_or_none,
                parse_constant=lambda _: None,
            )
        except (ValueError, RecursionError):
            return None

    def _join(self, escape: re.Match[str]) -> str:
        high, low = escape["high"], escape["low"]
        if high is None and low is None:
            return escape[0]  # any other escape, or a whole pair
        text = escape.string
        if low is not None:
            joined, self._high = self._high, ""
            is_first = text[escape.start() - 1] == '"'
            return joined + escape[0] if joined and is_first else _UNKNOWN
        if text[escape.end() : escape.end() + 1] == '"':
            self._high = escape[0]  # its other half is in the next piece
            return ""
        return _UNKNOWN


def without_huge_numbers(document: bytes) -> bytes:
    """Return a document with `null` for each number that no type holds.

    Raises:
        ValueError: if it is not JSON for another reason.
    """
    value = json.loads(
        document.decode(),
        parse_float=_finite_or_none,
        parse_int=_bounded_or_none,
        parse_constant=_refuse,
    )
    return json.dumps(value, ensure_ascii=False).encode()


_UNKNOWN = "\\ufffd"
_HIGH, _LOW = r"u[dD][89abAB][0-9a-fA-F]{2}", r"u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(rf"\\(?:{_HIGH}\\{_LOW}|(?P<high>{_HIGH})|(?P<low>{_LOW})|.)", re.DOTALL)


def _finite_or_none(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _bounded_or_none(text: str) -> int | None:
    return int(text) if len(text) < 309 else None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
