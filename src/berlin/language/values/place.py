"""The place of a value in an answer: in its JSON, a header, a cookie, or a web page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from berlin.types import HttpResponse
from berlin.wire.html import find_field, find_meta, find_script_json
from berlin.wire.json import DECODE_ERRORS
from berlin.wire.pointer import MISSING, check_pointers, get_at, parse_pointer, set_at

_WORDS = {
    "pointer": "{}",
    "header": "the header {}",
    "cookie": "the cookie {}",
    "field": "the form field {} of the page",
    "meta": "the meta tag {} of the page",
    "script": "the script's {} in the page",
    "body": "the body as {}",
}


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a value is in an answer, other than at a plain pointer into its JSON:
    `{ header = "…" }` and the like; exactly one of the first seven.

    Attributes:
        pointer: pointer into the answer's JSON, for use with `decode` or `at`.
        header: name of a header.
        cookie: name of a cookie; `"*"` takes all cookies the steps have set, as one Cookie header.
        field: name of a field in a form of a web page, such as a hidden CSRF token.
        meta: name of a `<meta>` tag of a web page.
        script: variable that a script of a web page assigns JSON to, or the id of a `<script>` that
            holds JSON.
        body: `text`: the whole body, without white space around it.
        parameter: name of a parameter, where the text is a URL (`{ header = "location" }`).
        decode: how the text is encoded: `url` (percent-encoded) or `base64url` (also base64).
        at: pointer into the text, parsed as JSON.
    """

    pointer: str = ""
    header: str = ""
    cookie: str = ""
    field: str = ""
    meta: str = ""
    script: str = ""
    body: Literal["", "text"] = ""
    parameter: str = ""
    decode: Literal["", "url", "base64url"] = ""
    at: str = ""

    def __post_init__(self) -> None:
        if sum(bool(getattr(self, kind)) for kind in _WORDS) != 1:
            raise ValueError(f"a place needs exactly one of {', '.join(_WORDS)}")
        check_pointers(self.pointer, self.at)

    @property
    def words(self) -> str:
        """The place in words, for display."""
        kind = next(kind for kind in _WORDS if getattr(self, kind))
        if self.cookie == "*":
            return "all cookies"
        base = _WORDS[kind].format(getattr(self, kind))
        base = f"the parameter {self.parameter} of the URL in {base}" if self.parameter else base
        base = f"{base}, {self.decode}-decoded" if self.decode else base
        return f"{self.at} of the JSON in {base}" if self.at else base

    def find(self, response: HttpResponse, document: Any, cookies: Mapping[str, str]) -> Any:
        """Return the value, or `MISSING`.

        Args:
            cookies: cookies set by the steps so far.
        """
        value = self._find_raw(response, document, cookies)
        if value is MISSING or value is None:
            return MISSING
        if self.parameter:
            value = _parameter(value, self.parameter)
        if self.decode:
            value = _decode(value, self.decode)
        if self.at:
            if isinstance(value, str):
                try:
                    value = msgspec.json.decode(value)
                except DECODE_ERRORS:
                    return MISSING
            value = get_at(value, parse_pointer(self.at))
        return value

    def _find_raw(self, response: HttpResponse, document: Any, cookies: Mapping[str, str]) -> Any:
        if self.pointer:
            return get_at(document, parse_pointer(self.pointer))
        if self.header:
            return response.headers.get(self.header.lower(), MISSING)
        if self.cookie == "*":
            return "; ".join(f"{n}={v}" for n, v in cookies.items()) or MISSING
        if self.cookie:
            return cookies.get(self.cookie, MISSING)
        page = response.body.decode("utf-8", "replace")
        if self.body:
            return page.strip() or MISSING
        if self.field:
            return find_field(page, self.field)
        return find_meta(page, self.meta) if self.meta else find_script_json(page, self.script)

    def put(self, value: Any, answer: Answer) -> None:
        """Put a value where `find` will find it: the reverse of `find`."""
        if self.at:
            tree: dict[str, Any] = {}
            set_at(tree, parse_pointer(self.at), value)
            value = tree if self.script else msgspec.json.encode(tree).decode()
        if self.decode == "url":
            value = "".join(f"%{byte:02X}" for byte in str(value).encode())
        elif self.decode:
            value = base64.urlsafe_b64encode(str(value).encode()).rstrip(b"=").decode()
        if self.parameter:
            value = f"/?{self.parameter}={value}"
        if self.pointer:
            set_at(answer.document, parse_pointer(self.pointer), value)
        elif self.header:
            answer.headers[self.header.lower()] = str(value)
        elif self.cookie:
            answer.cookies["session" if self.cookie == "*" else self.cookie] = str(value)
        elif self.body:
            answer.page = str(value)
        elif self.field:
            answer.page += f'<input type="hidden" name="{self.field}" value="{value}">\n'
        elif self.meta:
            answer.page += f'<meta name="{self.meta}" content="{value}">\n'
        else:
            text = msgspec.json.encode(value).decode()
            answer.page += f"<script>window.{self.script} = {text};</script>\n"


class Answer(msgspec.Struct):
    """The parts of an answer while a fake builds it."""

    document: dict[str, Any] = msgspec.field(default_factory=dict)
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    cookies: dict[str, str] = msgspec.field(default_factory=dict)
    page: str = ""


def _parameter(value: Any, name: str) -> Any:
    """Return a parameter of a URL, from its query or its fragment."""
    try:
        parts = urlsplit(str(value))
        pairs = [
            *parse_qsl(parts.query, keep_blank_values=True, max_num_fields=200),
            *parse_qsl(parts.fragment, keep_blank_values=True, max_num_fields=200),
        ]
    except ValueError:
        return MISSING
    return dict(reversed(pairs)).get(name, MISSING)


def _decode(value: Any, how: str) -> Any:
    if not isinstance(value, str):
        return MISSING
    if how == "url":
        return unquote(value)
    standard = value.replace("+", "-").replace("/", "_").rstrip("=")
    try:
        return base64.urlsafe_b64decode(standard + "=" * (-len(standard) % 4)).decode()
    except (binascii.Error, ValueError):
        return MISSING
