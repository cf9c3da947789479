"""Members of documents that are encoded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from berlin.wire.framings import FRAMINGS
from berlin.wire.framings.decoded import DecodedFramer, Encoded, EncodedWriter

INNER = {"text": "мир"}
AS_TEXT = json.dumps(INNER, ensure_ascii=False)
BASE64 = "eyJ0ZXh0IjogItC80LjRgCJ9"


@pytest.mark.parametrize(
    ("members", "sent", "read"),
    [
        ({("data",): ("json",)}, {"data": AS_TEXT}, {"data": INNER}),
        ({("data",): ("base64",)}, {"data": BASE64}, {"data": AS_TEXT}),
        ({("a", "data"): ("base64", "json")}, {"a": {"data": BASE64}}, {"a": {"data": INNER}}),
        ({("data",): ("json",)}, {"data": INNER, "n": 1}, {"data": INNER, "n": 1}),
        ({("data",): ("json",)}, {"data": "words"}, {"data": "words"}),
        ({("data",): ("base64",)}, {"data": "/w=="}, {"data": "/w=="}),
        ({("data",): ("json",)}, {"other": 1}, {"other": 1}),
    ],
)
def test_decoded(members: Encoded, sent: Any, read: Any) -> None:
    """What can be decoded is, at every cut of the answer; all else stays as it is."""
    line = json.dumps(sent).encode() + b"\n"
    for cut in range(len(line)):
        framer = DecodedFramer(FRAMINGS["ndjson"].framer(), members)
        found = [*framer.feed(line[:cut]), *framer.feed(line[cut:]), *framer.finish()]
        assert [json.loads(document) for document in found if document] == [read]


def test_written() -> None:
    """What is written is read again."""
    members: Encoded = {("data",): ("base64", "json")}
    writer = EncodedWriter(FRAMINGS["ndjson"].writer(), members)
    line = writer.write({"data": dict(INNER)}) + writer.end()
    assert json.loads(line) != {"data": INNER}
    (found,) = DecodedFramer(FRAMINGS["ndjson"].framer(), members).feed(line)
    assert json.loads(found) == {"data": INNER}
