"""Framings of single protocols: Connect, documents after their lengths, multipart."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from berlin.errors import ProtocolError
from berlin.wire.framings import FRAMINGS, recognise
from berlin.wire.framings.connect import envelope, message_in
from berlin.wire.framings.prefixed import Prefixed

PIECES: list[Any] = [{"t": "Grüße "}, {"t": "😀 \n--- x"}, {"end": "stop"}]
# As services write them: what the writers here write is tried by the property tests.
LINES = [json.dumps(piece, ensure_ascii=False) for piece in PIECES]
PARTS = [f"Content-Type: application/json; charset=utf-8\r\n\r\n{line}" for line in LINES]
BODIES: dict[str, tuple[str, bytes]] = {
    "connect": (
        "connect",
        b"".join(envelope(line.encode()) for line in LINES) + envelope(b"{}", 2),
    ),
    "lengths in bytes": (
        "length-prefixed",
        b"".join(b"%d\r\n%b\r\n" % (len(line.encode()), line.encode()) for line in LINES),
    ),
    "lengths in UTF-16 units, with the line end": (
        "length-prefixed",
        b"".join(
            b"%d\n%b\n" % (len(line.encode("utf-16-le")) // 2 + 1, line.encode()) for line in LINES
        ),
    ),
    "multipart of GraphQL": (
        "multipart",
        ("\r\n---\r\n" + "\r\n---\r\n".join(PARTS) + "\r\n-----\r\n").encode(),
    ),
    "multipart with another boundary, line feeds and a preamble": (
        "multipart",
        ("--b.7\n" + "\n--b.7\n".join(PARTS).replace("\r\n", "\n") + "\n--b.7--\n").encode(),
    ),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 9999])
def test_documents_are_cut_anywhere(name: str, size: int) -> None:
    """The same documents come wherever the reads were cut."""
    framing, body = BODIES[name]
    framer = FRAMINGS[framing].framer()
    found = [d for at in range(0, len(body), size) for d in framer.feed(body[at : at + size])]
    assert [msgspec.json.decode(d) for d in [*found, *framer.finish()]] == PIECES


@pytest.mark.parametrize("name", BODIES)
def test_each_is_recognised_whole_and_cut(name: str) -> None:
    """A draft knows the framing from a recorded answer, and sees whether it was cut."""
    framing, body = BODIES[name]
    looks = recognise(body)
    assert looks.framing is FRAMINGS[framing]
    assert (looks.read.documents, looks.read.is_whole) == (PIECES, True)
    cut = recognise(body[: len(body) * 2 // 3])
    assert cut.framing is FRAMINGS[framing]
    assert not cut.read.is_whole


@pytest.mark.parametrize("name", BODIES)
def test_a_cut_answer_ends_with_broken_json(name: str) -> None:
    """So that the decoder reports it, after what came before."""
    framing, body = BODIES[name]
    framer = FRAMINGS[framing].framer()
    framer.feed(body[: len(body) * 2 // 3])
    with pytest.raises(msgspec.DecodeError):
        [msgspec.json.decode(document) for document in framer.finish()]


def test_a_list_after_a_prefix() -> None:
    """As Google's pages send it: a prefix, then lists after their lengths."""
    body = b')]}\'\n\n25\n[["wrb.fr",null,"Hello"]]\n'
    framer = Prefixed(FRAMINGS["length-prefixed"].framer(), b")]}'")
    documents = [*framer.feed(body[:3]), *framer.feed(body[3:]), *framer.finish()]
    assert [msgspec.json.decode(d) for d in documents] == [{"data": [["wrb.fr", None, "Hello"]]}]


def test_the_error_at_the_end_of_a_connect_stream() -> None:
    """It is a document of its own."""
    body = envelope(b'{"t":"Hi"}') + envelope(b'{"error":{"code":"internal"}}', 2)
    assert FRAMINGS["connect"].framer().feed(body) == [
        b'{"t":"Hi"}',
        b'{"end":{"error":{"code":"internal"}}}',
    ]


def test_the_message_of_a_request() -> None:
    """A client's body is in an envelope; what has none is left as it is."""
    assert message_in(envelope(b"{}")) == b"{}"
    assert message_in(b'{"a": 1}') == b'{"a": 1}'


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("connect", b"\x01\x00\x00\x00\x01x"),
        ("connect", b"\x00\xff\xff\xff\xff"),
        ("length-prefixed", b"twelve\n{}"),
        ("length-prefixed", b"99999999999999999999\n{}"),
        ("length-prefixed", b"9" * 64),
        ("length-prefixed", b"3\n{}x" + b"y" * 10),
        ("multipart", b"x" * 5000),
    ],
)
def test_another_protocol_is_an_error(framing: str, body: bytes) -> None:
    """At once, before much is held."""
    framer = FRAMINGS[framing].framer()
    with pytest.raises(ProtocolError):
        framer.feed(body)
