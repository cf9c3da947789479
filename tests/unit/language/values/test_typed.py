"""Compiled documents: pointers as msgspec types."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from berlin.errors import ConfigurationError
from berlin.language.values.typed import CompiledDocument
from berlin.wire.pointer import parse_pointer


def read(text: list[str], other: list[str], wanted: str, body: str) -> Any:
    """Compile pointers, decode a body, and return what stands at one of the pointers."""
    document = CompiledDocument(map(parse_pointer, text), map(parse_pointer, other))
    decoded = msgspec.json.decode(body, type=document.type)
    value = document.reader(parse_pointer(wanted))(decoded)
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value


CHOICES = ["/choices/0/delta/content"]


@pytest.mark.parametrize(
    ("text", "other", "wanted", "body", "value"),
    [
        (["/content"], [], "/content", '{"content": "x"}', "x"),
        (["/content"], [], "/content", '{"content": null}', None),
        (["/content"], [], "/content", "{}", UNSET),
        (["/content"], [], "/content", '{"other": [{"content": 1}], "content": "x"}', "x"),
        (["/a/b/c"], [], "/a/b/c", '{"a": {"b": {"c": "x"}}}', "x"),
        (["/a/b/c"], [], "/a/b/c", '{"a": {"b": {}}}', UNSET),
        (["/a/b/c"], [], "/a/b/c", '{"a": null}', None),
        (["/a~1b/m~0n"], [], "/a~1b/m~0n", '{"a/b": {"m~n": "x"}}', "x"),
        (["/a", "/b"], [], "/b", '{"a": "x", "b": "y"}', "y"),
        # Arrays
        (CHOICES, [], CHOICES[0], '{"choices": [{"delta": {"content": "x"}}]}', "x"),
        (CHOICES, [], CHOICES[0], '{"choices": []}', UNSET),
        (CHOICES, [], CHOICES[0], '{"choices": [null]}', None),
        (
            CHOICES,
            [],
            CHOICES[0],
            '{"choices": [{"delta": {}}, {"delta": {"content": "y"}}]}',
            UNSET,
        ),
        (["/a/1"], [], "/a/1", '{"a": ["x", "y"]}', "y"),
        (["/a/0", "/a/1"], [], "/a/1", '{"a": ["x", "y"]}', "y"),
        (["/a/0/b", "/a/1/b"], [], "/a/1/b", '{"a": [{"b": "x"}, {"b": "y"}]}', "y"),
        (["/a/0/b", "/a/1/c"], [], "/a/1/c", '{"a": [{"b": "x"}, {"b": "y", "c": "z"}]}', "z"),
        (["/0"], [], "/0", '{"0": "x"}', "x"),
        # Values of any kind stay raw until they are wanted
        (["/t"], ["/u"], "/u", '{"u": 5}', 5),
        (["/t"], ["/u"], "/u", '{"u": null}', None),
        (["/t"], ["/u"], "/u", '{"t": "x"}', UNSET),
        (["/t"], ["/u/n/0"], "/u/n/0", '{"u": {"n": [7]}}', 7),
        (["/t"], ["/u/n/0"], "/u/n/0", '{"u": {"n": []}}', UNSET),
        (["/t"], ["/u/n/0"], "/u/n/0", '{"u": "text"}', UNSET),
        (["/t"], ["/u/a", "/u/b"], "/u/b", '{"u": {"a": 1, "b": 2}}', 2),
        (["/t"], ["/u", "/u/b"], "/u/b", '{"u": {"b": 2}}', 2),
        (["/t"], ["/u", "/u/b"], "/u", '{"u": {"b": 2}}', {"b": 2}),
        # Values of any kind beside text, below the same array
        (
            CHOICES,
            ["/choices/0/finish_reason"],
            "/choices/0/finish_reason",
            '{"choices": [{"delta": {}, "finish_reason": "stop"}]}',
            "stop",
        ),
        (
            CHOICES,
            ["/choices/0/finish_reason"],
            CHOICES[0],
            '{"choices": [{"delta": {"content": "x"}, "finish_reason": null}]}',
            "x",
        ),
        (["/m/text"], ["/m/n/k"], "/m/n/k", '{"m": {"text": "x", "n": {"k": [1]}}}', [1]),
    ],
)
def test_values_are_read(
    text: list[str], other: list[str], wanted: str, body: str, value: Any
) -> None:
    """A compiled pointer finds what the pointer means; `UNSET` is nothing, `None` is null."""
    found = read(text, other, wanted, body)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "body",
    ['{"content": 1}', '{"content": {}}', '{"content": ["x"]}', "[]", '"content"', "null", "1"],
)
def test_what_should_be_text_is_not(body: str) -> None:
    """A value of another kind where text should be is an error of decoding, never a value."""
    with pytest.raises(msgspec.ValidationError):
        read(["/content"], [], "/content", body)


@pytest.mark.parametrize(
    ("text", "other"), [(["/a", "/a/b"], []), (["/a/b", "/a"], []), (["/a"], ["/a/b"])]
)
def test_pointers_that_do_not_go_together(text: list[str], other: list[str]) -> None:
    """What is text for one pointer cannot be an object for another, in whatever order."""
    with pytest.raises(ConfigurationError, match="goes through"):
        CompiledDocument(map(parse_pointer, text), map(parse_pointer, other))


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        ("{}", False),
        ('{"t": "x"}', False),
        ('{"t": "x", "a": 1}', True),
        ('{"b": "y"}', True),
        ('{"b": {}}', True),
    ],
)
def test_a_watcher_of_members(body: str, seen: bool) -> None:
    """A watcher tells whether anything stands at one of the pointers."""
    document = CompiledDocument([("t",)], [("a",), ("b",)])
    watch = document.watcher([("a",), ("b",)])
    assert watch(msgspec.json.decode(body, type=document.type)) is seen


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        ("{}", False),
        ('{"c": [{"t": "x"}]}', False),
        ('{"c": [{"t": "x", "end": null}]}', False),
        ('{"c": [{"end": "stop"}]}', True),
        ('{"u": 1}', True),
    ],
)
def test_a_watcher_below_an_array(body: str, seen: bool) -> None:
    """A watcher looks below arrays too, and takes null for nothing there."""
    document = CompiledDocument([("c", "0", "t")], [("c", "0", "end"), ("u",)])
    watch = document.watcher([("c", "0", "end"), ("u",)])
    assert watch(msgspec.json.decode(body, type=document.type)) is seen


def test_a_watcher_of_nothing() -> None:
    """Who watches for nothing sees nothing."""
    document = CompiledDocument([("t",)], [])
    assert document.watcher([])(msgspec.json.decode('{"t": "x"}', type=document.type)) is False
