"""A value that never shows itself: passwords, tokens, the credentials in a proxy URL."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable
from typing import NoReturn
from urllib.parse import quote, quote_plus

# Shorter ones would be found in every other word.
SHORTEST_CHARS = 4
# What stands where a text was cut.
CUT = "…"


class Secret:
    """Text that prints as `***` everywhere; `reveal()` is the only way to read it.

    It is compared in constant time, and can neither be pickled nor copied into anything that
    can: whoever needs the text elsewhere has to say so.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        ours, theirs = (s._text.encode("utf-8", "surrogatepass") for s in (self, other))
        return hmac.compare_digest(ours, theirs)

    def __hash__(self) -> int:
        return hash(("Secret", self._text))

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is never pickled; make a new provider where you need one")


def mask(text: str, secrets: Iterable[Secret]) -> str:
    """Return a text without the secrets in it, however they are written there."""
    for secret in secrets:
        for form in sorted(_forms(secret.reveal()), key=len, reverse=True):
            text = _mask_cut(text.replace(form, "***"), form)
    return text


def _forms(clear: str) -> set[str]:
    """Return a secret as it is, and as URLs, JSON and our own snippets of answers write it."""
    written = {clear, quote(clear), quote(clear, safe=""), quote_plus(clear)}
    written |= {json.dumps(clear, ensure_ascii=ascii)[1:-1] for ascii in (True, False)}
    written |= {" ".join(form.split()) for form in written}
    written |= {repr(form)[1:-1] for form in written}
    return {form for form in written if len(form) >= SHORTEST_CHARS}


def _mask_cut(text: str, form: str) -> str:
    """Mask the beginning of a secret where a snippet was cut in the middle of it."""
    pieces = text.split(CUT)
    for n, piece in enumerate(pieces[:-1]):
        sizes = range(len(form) - 1, SHORTEST_CHARS - 1, -1)
        size = next((size for size in sizes if piece.endswith(form[:size])), 0)
        pieces[n] = f"{piece[:-size]}***" if size else piece
    return CUT.join(pieces)
