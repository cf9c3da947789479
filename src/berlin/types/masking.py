"""Removes secrets from text, however they are encoded there."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote

from berlin.types.secret import Secret

# Shorter ones would be found in every other word.
SHORTEST_CHARS = 4
# Marks where a text was cut.
CUT = "…"
HIDDEN = "***"
# What a value of HTTP, HTML or JSON is made of, when it is encoded.
_RUN = re.compile(r"[A-Za-z0-9+/_=%&#;.\\~-]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+")
MAX_DECODINGS = 4


def mask(text: str, secrets: Iterable[Secret]) -> str:
    """Return a text without the secrets in it, however they are encoded.

    Besides the plain secret, this finds it in a URL, in JSON, in HTML, in base64 at any offset, in
    hexadecimal, folded and cut by our own snippets, and split by white space. Anything that decodes
    to a secret in another way, such as twice, is masked as a whole.
    """
    # The longest first: a token may hold a password in one of its forms.
    for clear in sorted((secret.reveal() for secret in secrets), key=len, reverse=True):
        if len(clear) < SHORTEST_CHARS:
            continue
        for form in sorted(_forms(clear), key=len, reverse=True):
            text = _mask_cut(text.replace(form, HIDDEN), form)
        text = _mask_split(text, clear)
        text = _mask_encoded(text, clear)
    return text


def _forms(clear: str) -> set[str]:
    """Return a secret in plain form, and as URLs, JSON, HTML and our own snippets write it."""
    written = {clear, quote(clear), quote(clear, safe=""), quote_plus(clear)}
    written |= {json.dumps(clear, ensure_ascii=ascii)[1:-1] for ascii in (True, False)}
    written |= {html.escape(clear, quote=quote) for quote in (True, False)}
    written |= {html.escape(form).replace("&#x27;", "&#39;") for form in (clear, quote_plus(clear))}
    written |= {" ".join(form.split()) for form in written}
    written |= {repr(form)[1:-1] for form in written}
    written |= _in_base64(clear)
    raw = clear.encode("utf-8", "surrogatepass")
    written |= {raw.hex(), raw.hex().upper()}
    return {form for form in written if len(form) >= SHORTEST_CHARS}


def _in_base64(clear: str) -> set[str]:
    """Return the characters of base64 that depend on a secret alone, for each of three offsets."""
    raw = clear.encode("utf-8", "surrogatepass")
    forms = set()
    for before in range(3):
        bits = 8 * before
        coded = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        first = -(-bits // 6)
        last = (bits + 8 * len(raw)) // 6
        inner = coded[first:last]
        if len(inner) >= 2 * SHORTEST_CHARS:
            forms |= {inner, inner.translate(_URL_SAFE)}
    return forms


_URL_SAFE = str.maketrans("+/", "-_")


def _mask_split(text: str, clear: str) -> str:
    """Mask a secret that other characters or marks of HTML take apart, or in another case.

    Letters and digits alone are compared: a wrapped page, a quoted line and hexadecimal with colons
    are the same as the secret in one piece.
    """
    whole = clear.encode("utf-8", "surrogatepass").hex()
    for wanted in (_bare(clear), whole):
        if len(wanted) < 2 * SHORTEST_CHARS:
            continue  # short ones are found in every other sentence
        plain = _TAG.sub(lambda tag: " " * len(tag[0]), text)
        joined = _bare(plain)
        if wanted not in joined:
            continue
        kept = [n for n, c in enumerate(plain) if _bare(c)]
        at = joined.rfind(wanted)
        while at >= 0:
            first, last = kept[at], kept[at + len(wanted) - 1]
            text = f"{text[:first]}{HIDDEN}{text[last + 1 :]}"
            at = joined.rfind(wanted, 0, at)
    return text


def _bare(text: str) -> str:
    """Return the letters and digits of a text in lower case, as many as it has."""
    return "".join([low if len(low := c.lower()) == 1 else c for c in text if c.isalnum()])


_TAG = re.compile(r"</?(?:wbr|br|span|b|i|em|mark|code)\b[^<>]{0,80}>", re.IGNORECASE)


def _mask_encoded(text: str, clear: str) -> str:
    def hide(run: re.Match[str]) -> str:
        return HIDDEN if _holds(run[0], clear) else run[0]

    return _RUN.sub(hide, text)


def _holds(run: str, clear: str) -> bool:
    """Return whether something decodes to a secret: URL, HTML, JSON or base64, in any order."""
    seen = {run}
    for _ in range(MAX_DECODINGS):
        decoded = {each for text in seen for each in _decode(text)} - seen
        if any(clear in text for text in decoded):
            return True
        if not decoded:
            return False
        seen |= decoded
    return False


def _decode(text: str) -> Iterator[str]:
    if "%" in text:
        yield unquote(text)
    if "&" in text:
        yield html.unescape(text)
    if "\\" in text:
        with contextlib.suppress(ValueError):
            yield str(json.loads(f'"{text}"'))
    for piece in _BASE64.findall(text):
        if len(piece) >= 2 * SHORTEST_CHARS:
            coded = piece.replace("-", "+").replace("_", "/")
            with contextlib.suppress(ValueError):
                yield base64.b64decode(coded + "=" * (-len(coded) % 4)).decode("utf-8", "replace")


def _mask_cut(text: str, form: str) -> str:
    """Mask the beginning of a secret where a snippet was cut in the middle of it."""
    pieces = text.split(CUT)
    for n, piece in enumerate(pieces[:-1]):
        sizes = range(len(form) - 1, SHORTEST_CHARS - 1, -1)
        size = next((size for size in sizes if piece.endswith(form[:size])), 0)
        pieces[n] = f"{piece[:-size]}***" if size else piece
    return CUT.join(pieces)
