"""Extracts values from web pages: form fields, meta tags and JSON in scripts.

Not an HTML parser: it looks for one tag or one assignment, in time linear in the page's size,
whatever the page contains.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any

MAX_PAGE_CHARS = 2 * 1024 * 1024
MAX_TAG_CHARS = 8 * 1024
MAX_TAGS = 2000
MAX_SCRIPTS = 50

_ATTRIBUTE = re.compile(
    r"""\s*+([^\s"'<>/=]++)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'<>=`]++)))?+|\s*+/(?!>)"""
)
# A text of JavaScript that JSON does not have.
_QUOTED = re.compile(r"'((?:[^'\\\n]|\\')*+)'")
_PAGE = re.compile(rb"\s*+<(?:!doctype\s+html|html|head|body)[\s>]", re.IGNORECASE)


def is_page(body: bytes) -> bool:
    """Return whether a body begins as a web page does."""
    return _PAGE.match(body.removeprefix(b"\xef\xbb\xbf")[:1024]) is not None


def find_field(page: str, name: str) -> str | None:
    """Return the value of the form field with a name."""
    return _attribute_of(page, "input", "name", name, "value")


def find_meta(page: str, name: str) -> str | None:
    """Return the content of the meta tag with a name (or a property)."""
    found = _attribute_of(page, "meta", "name", name, "content")
    return found if found is not None else _attribute_of(page, "meta", "property", name, "content")


def field_with(page: str, value: str) -> str:
    """Return the name of the form field with a value; `""` if there is none."""
    return _attribute_of(page, "input", "value", value, "name") or ""


def meta_with(page: str, content: str) -> str:
    """Return the name of the meta tag with a content; `""` if there is none."""
    return _attribute_of(page, "meta", "content", content, "name") or ""


def find_script_json(page: str, name: str) -> Any:
    """Return the JSON in a script; `None` if there is none.

    Either that of the script element with this id, or what is assigned to this name:
    `window.name = {…}`, `name: {…}`, `"name": …`.
    """
    page = page[:MAX_PAGE_CHARS]
    for attributes, end in _tags(page, "script"):
        if attributes.get("id") == name:
            return _json_at(page, end)
    assigned = re.compile(rf"(?<![\w$]){re.escape(name)}[\"'\]]*+\s*+[=:](?!=)\s*+")
    for _, found in zip(range(MAX_SCRIPTS), assigned.finditer(page), strict=False):
        value = _json_at(page, found.end())
        if value is not None:
            return value
    return None


def _json_at(page: str, at: int) -> Any:
    # Limited, so that many starts of JSON on one page are not each read to its end.
    text = page[at : at + MAX_PAGE_CHARS // 4].lstrip()
    if found := _QUOTED.match(text):
        return found[1].replace("\\'", "'")
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return value


def _attribute_of(page: str, tag: str, key: str, name: str, wanted: str) -> str | None:
    for attributes, _ in _tags(page[:MAX_PAGE_CHARS], tag):
        if attributes.get(key) == name:
            return attributes.get(wanted, "")
    return None


def _tags(page: str, tag: str) -> Iterator[tuple[dict[str, str], int]]:
    """Yield the attributes of each such tag, and where it ends."""
    for _, found in zip(
        range(MAX_TAGS), re.finditer(rf"<{tag}(?=[\s/>])", page, re.IGNORECASE), strict=False
    ):
        attributes: dict[str, str] = {}
        at, limit = found.end(), min(found.end() + MAX_TAG_CHARS, len(page))
        while (one := _ATTRIBUTE.match(page, at, limit)) and one.end() > at:
            at = one.end()
            if one[1]:
                value = one[2] or one[3] or one[4] or ""
                attributes.setdefault(one[1].lower(), html.unescape(value))
        end = page.find(">", at, limit)
        if end >= 0:
            yield attributes, end + 1
