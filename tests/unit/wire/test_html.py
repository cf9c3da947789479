"""Values out of web pages."""

from __future__ import annotations

import pytest

from berlin.wire.html import find_field, find_meta, find_script_json, is_page

PAGE = """<!DOCTYPE html><html><head><meta name="csrf-token" content="m&amp;1">
<meta content='p1' property="og:csrf">
<script id="__NEXT_DATA__" type="application/json">{"props": {"token": "n1"}}</script>
<script>var a = 1; window.__STATE__ = {"csrf": {"value": "s1"}, "n": [1, 2]}; config: {}</script>
</head><body><form><INPUT type=hidden name=plain value=v1 />
<input
  value="two&#x27;" disabled name='authenticity_token' type="hidden"><input name="empty">
</form></body></html>"""


@pytest.mark.parametrize(
    ("name", "value"),
    [("plain", "v1"), ("authenticity_token", "two'"), ("empty", ""), ("nobody", None)],
)
def test_form_fields(name: str, value: str | None) -> None:
    """A field is found by its name, however its attributes are written."""
    assert find_field(PAGE, name) == value


@pytest.mark.parametrize(("name", "value"), [("csrf-token", "m&1"), ("og:csrf", "p1")])
def test_meta_tags(name: str, value: str) -> None:
    """A meta tag is found by its name or its property."""
    assert find_meta(PAGE, name) == value


def test_json_of_scripts() -> None:
    """JSON is found behind a name that it is assigned to, and in a script with an id."""
    assert find_script_json(PAGE, "__STATE__") == {"csrf": {"value": "s1"}, "n": [1, 2]}
    assert find_script_json(PAGE, "__NEXT_DATA__") == {"props": {"token": "n1"}}
    assert find_script_json(PAGE, "nobody") is None


@pytest.mark.parametrize(
    "page",
    [
        "<input " * 100_000,
        '<input name="' * 50_000,
        "<meta " + "a " * 500_000,
        "x = [" * 100_000,
        "x=" + "[" * 200_000,
        "<script id='y'" * 50_000,
    ],
)
def test_d06_pages_made_to_take_long(page: str) -> None:
    """Whatever a page holds, it is read before a test's limit, and no recursion is too deep."""
    assert find_field(page, "x") is None
    assert find_meta(page, "x") is None
    assert find_script_json(page, "x") is None


def test_what_is_a_page() -> None:
    """A page begins as one; text about HTML does not."""
    assert is_page(PAGE.encode())
    assert is_page(b"\xef\xbb\xbf \n<html lang=en>")
    assert not is_page(b'{"a": "<html>"}')
    assert not is_page(b"<htmlx>")
    assert not is_page(b"")
