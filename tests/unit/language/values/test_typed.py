"""Compiled documents: pointers as msgspec types."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from berlin.errors import ConfigurationError
from berlin.language.values.typed import CompiledDocument
from berlin.types import StreamEvent, TextDelta
from berlin.wire.pointer import parse_pointer


def read(text: list[str], other: list[str], wanted: str, body: str) -> Any:
    """Compile pointers, decode a body, and return the value at one of the pointers."""
    document = CompiledDocument(map(parse_pointer, text), map(parse_pointer, other))
    decoded = msgspec.json.decode(body, type=document.type)
    return document.reader(parse_pointer(wanted))(decoded)


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
        # Values of any kind: nothing and null are the same
        (["/t"], ["/u"], "/u", '{"u": 5}', 5),
        (["/t"], ["/u"], "/u", '{"u": null}', None),
        (["/t"], ["/u"], "/u", '{"t": "x"}', None),
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
    """A compiled pointer finds what the pointer means; nothing is `UNSET` for text."""
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
    ("text", "more", "body", "found"),
    [
        ("/t", ["/a", "/b"], "{}", None),
        ("/t", ["/a", "/b"], '{"t": "x"}', "x"),
        ("/t", ["/a", "/b"], '{"t": "x", "a": null}', "x"),
        ("/t", ["/a", "/b"], '{"t": "x", "a": 1}', None),
        ("/t", ["/a"], '{"t": "x", "a": 1}', None),
        ("/t", ["/a/b"], '{"t": "x", "a": {"b": 1}}', None),
        ("/t", [], '{"t": "x", "a": 1}', "x"),
        ("/c/0/t", ["/c/0/end", "/u"], '{"c": [{"t": "x"}]}', "x"),
        ("/c/0/t", ["/c/0/end", "/u"], '{"c": [{"t": "x", "end": null}]}', "x"),
        ("/c/0/t", ["/c/0/end", "/u"], '{"c": [{"t": "x", "end": "stop"}]}', None),
        ("/c/0/t", ["/c/0/end", "/u"], '{"c": [{"t": "x"}], "u": 1}', None),
        ("/c/0/t", ["/c/0/end"], '{"c": []}', None),
        ("/c/0/t", ["/c/0/end"], '{"c": null}', None),
        ("/c/0/d/0/t", ["/u"], '{"c": [{"d": [{"t": "x"}]}]}', "x"),
        ("/c/0/d/0/t", ["/u"], '{"c": [{"d": [{"t": "x"}]}], "u": 1}', None),
        ("/c/0", ["/u"], '{"c": ["x"]}', "x"),
    ],
)
def test_documents_with_nothing_but_text(
    text: str, more: list[str], body: str, found: str | None
) -> None:
    """The text of a document with nothing more is an event; all others are looked at."""
    pointer, others = parse_pointer(text), [parse_pointer(other) for other in more]
    document = CompiledDocument([pointer], others)
    decoded = msgspec.json.decode(body, type=document.type)
    events: list[StreamEvent] = []
    looked_at: list[object] = []
    take = document.plain_taker(pointer, others)
    take([decoded], events, lambda seen, _: looked_at.append(seen) is None)
    assert events == ([] if found is None else [TextDelta(found)])
    assert looked_at == ([decoded] if found is None else [])
