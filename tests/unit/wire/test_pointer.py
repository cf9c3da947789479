"""JSON Pointers: RFC 6901, and what Berlin makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from berlin.errors import ConfigurationError
from berlin.wire.pointer import MISSING, first_at, get_at, parse_pointer, set_at

# The document and the table of RFC 6901, section 5.
RFC_DOCUMENT = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_the_table_of_rfc_6901(pointer: str, value: Any) -> None:
    """Each pointer of the standard's table finds the value that the standard says."""
    assert get_at(RFC_DOCUMENT, parse_pointer(pointer)) == value


@pytest.mark.parametrize(
    ("pointer", "segments"),
    [("/~01", ("~1",)), ("/~10", ("/0",)), ("//", ("", "")), ("/a/b~1c/0", ("a", "b/c", "0"))],
)
def test_escapes_are_read_in_the_right_order(pointer: str, segments: tuple[str, ...]) -> None:
    """`~1` is read before `~0`, so that `~01` is the text `~1`."""
    assert parse_pointer(pointer) == segments


@pytest.mark.parametrize("text", ["", "foo", "#/foo", "foo/bar", "/~", "/~2", "/a~/b", "$.a"])
def test_what_is_no_pointer(text: str) -> None:
    """The whole document, fragments and bad escapes are refused, with an example of a good one."""
    with pytest.raises(ConfigurationError, match=r"is not a JSON Pointer; write it like /data"):
        parse_pointer(text)


@pytest.mark.parametrize(
    "pointer",
    [
        "/a/0/x",
        "/a/2",
        "/a/-",
        "/a/-2",
        "/e/-1",
        "/a/00",
        "/a/01",
        "/a/1.0",
        "/a/٠",
        "/a/99999999999",
        "/b",
    ],
)
def test_nothing_stands_there(pointer: str) -> None:
    """An index is a number without leading zeros inside the list; all else is `MISSING`."""
    assert get_at({"a": [1, None], "e": []}, parse_pointer(pointer)) is MISSING


def test_null_is_a_value_and_missing_is_false() -> None:
    """A null stands there; `MISSING` is false in a condition and says its name."""
    assert get_at({"a": [1, None]}, ("a", "1")) is None
    assert not MISSING
    assert repr(MISSING) == "MISSING"


def test_the_first_value_that_is_not_null() -> None:
    """Of several pointers the first that finds something but null counts, also a false one."""
    document = {"a": None, "b": False, "c": "x"}
    assert first_at(document, (("a",), ("b",), ("c",))) is False
    assert first_at(document, (("z",), ("a",))) is MISSING
    assert first_at(document, ()) is MISSING


def test_putting_a_value() -> None:
    """A value is put where its pointer says, and the objects on the way are made."""
    document: dict[str, Any] = {"a": {"x": 1}}
    set_at(document, ("a", "b", "c"), 2)
    set_at(document, ("d",), 3)
    assert document == {"a": {"x": 1, "b": {"c": 2}}, "d": 3}


PARTS = {
    "kind": "answer",
    "parts": [
        {"thought": True, "text": "hm "},
        {"text": "a"},
        {"thought": False, "text": "b", "n": 1},
        {"text": None},
        7,
    ],
}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/parts/*/text", "hm ab"),
        ("/parts/*/?thought=true/text", "hm "),
        ("/parts/*/?thought!=true/text", "ab"),
        ("/parts/*/?thought/text", "hm "),
        ("/parts/*/n", 1),
        ("/?kind=answer/parts/1/text", "a"),
        ("/?kind=other/parts/1/text", MISSING),
        ("/parts/*/?n=1/text", "b"),
        ('/parts/*/?n="1"/text', MISSING),
        ("/parts/*/nobody", MISSING),
        ("/kind/*", MISSING),
        ("/?parts~11~1text=a/kind", "answer"),
        ("/?parts~11~1text!=a/kind", MISSING),
    ],
)
def test_items_and_conditions(pointer: str, value: object) -> None:
    """`*` is each item, `?name=value` a condition; texts are joined, else the first counts."""
    assert get_at(PARTS, parse_pointer(pointer)) == value


@pytest.mark.parametrize("pointer", ["/a/?", "/a/?=x/b", "/a/?b=1", "/?b"])
def test_d01_conditions_that_are_none(pointer: str) -> None:
    """A condition without a member, or without a value after it, is a mistake."""
    with pytest.raises(ConfigurationError):
        parse_pointer(pointer)


@pytest.mark.parametrize(
    "pointer",
    [
        "/parts/*/?thought=true/text",
        "/?kind=answer/a/b",
        "/a/*",
        "/?from~1id=bot/text",
        "/?from~1id!=bot/text",
    ],
)
def test_a_condition_is_written_too(pointer: str) -> None:
    """What is put at a pointer with conditions is found by it."""
    document: dict[str, object] = {}
    set_at(document, parse_pointer(pointer), "x")
    assert get_at(document, parse_pointer(pointer)) == "x"
