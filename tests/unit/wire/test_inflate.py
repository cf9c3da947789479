"""Decompression: whole, cut, corrupt, and far larger than it looks."""

from __future__ import annotations

import gzip
import zlib

import pytest

from berlin.errors import ProtocolError, TruncatedStreamError
from berlin.wire.inflate import ACCEPT_ENCODING, PIECE_BYTES, Inflater

TEXT = "Привет, как дела? ".encode() * 50


def raw_deflate(data: bytes) -> bytes:
    """Compress without any header."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    " GZip ": gzip.compress(TEXT),
}


def made(encoding: str) -> Inflater:
    """Return what decompresses this encoding."""
    inflater = Inflater.of(encoding)
    assert inflater is not None
    return inflater


def feed_all(inflater: Inflater, data: bytes, size: int) -> bytes:
    """Feed in reads of one size, and take every piece."""
    held = b""
    for n in range(0, len(data), size):
        held += inflater.feed(data[n : n + size])
        steps = 0
        while inflater.pending:
            held += inflater.more()
            steps += 1
            assert steps < 10_000, "more is to come without further bytes, but nothing comes"
    return held


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("encoding", PACKED)
def test_a_whole_body(encoding: str, size: int) -> None:
    """A body comes out whole, however the reads cut it."""
    inflater = made(encoding)
    assert feed_all(inflater, PACKED[encoding], size) == TEXT
    inflater.finish()


@pytest.mark.parametrize("size", [1, 2, 1 << 20])
def test_deflate_without_its_header(size: int) -> None:
    """Servers that send deflate bare are understood too."""
    inflater = made("deflate")
    assert feed_all(inflater, raw_deflate(TEXT), size) == TEXT
    inflater.finish()


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_a_gzip_body_of_several_members(size: int) -> None:
    """A gzip body may have several members (RFC 1952); all of them are the body."""
    inflater = made("gzip")
    data = gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two")
    assert feed_all(inflater, data, size) == b"one two"
    inflater.finish()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_was_flushed_comes_at_once(encoding: str) -> None:
    """A line that the service flushed comes out before the next one goes in."""
    packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    inflater = made(encoding)
    for line in (b"first\n", b"second\n", b"third\n"):
        packed = packer.compress(line) + packer.flush(zlib.Z_SYNC_FLUSH)
        assert feed_all(inflater, packed, 1 << 20) == line
    assert feed_all(inflater, packer.flush(), 1 << 20) == b""
    inflater.finish()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_h06_a_cut_body(encoding: str) -> None:
    """A body that ends too early is an error at every cut, and what came before it is good."""
    packed = PACKED[encoding]
    for n in range(1, len(packed)):
        inflater = made(encoding)
        assert TEXT.startswith(feed_all(inflater, packed[:n], 1 << 20))
        with pytest.raises(TruncatedStreamError, match=f"^the {encoding} answer was cut off$"):
            inflater.finish()


def test_a_cut_second_member() -> None:
    """A second gzip member that is cut is an error too."""
    inflater = made("gzip")
    assert feed_all(inflater, gzip.compress(b"one") + gzip.compress(b"two")[:-4], 3) == b"onetwo"
    with pytest.raises(TruncatedStreamError):
        inflater.finish()


def test_no_bytes_at_all_are_no_cut_body() -> None:
    """An answer without a body was not cut; whether it may be empty is for others to say."""
    made("gzip").finish()


def test_h05_corrupt_gzip_after_some_text() -> None:
    """What came before the damage is delivered; then comes a ProtocolError."""
    packer = zlib.compressobj(wbits=31)
    good = packer.compress(b"good\n") + packer.flush(zlib.Z_SYNC_FLUSH)
    inflater = made("gzip")
    assert feed_all(inflater, good, 1 << 20) == b"good\n"
    with pytest.raises(ProtocolError, match=r"^the answer is not valid gzip: "):
        feed_all(inflater, b"\xff" * 20, 1 << 20)


def test_a_wrong_checksum() -> None:
    """A gzip body whose checksum is wrong is a ProtocolError."""
    packed = bytearray(PACKED["gzip"])
    packed[-5] ^= 1
    with pytest.raises(ProtocolError, match="incorrect data check"):
        feed_all(made("gzip"), bytes(packed), 1 << 20)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_plain_text_under_an_encoding(encoding: str) -> None:
    """A plain body that is announced as compressed is a ProtocolError."""
    with pytest.raises(ProtocolError, match=f"^the answer is not valid {encoding}: "):
        feed_all(made(encoding), b'{"content": "plain"}\n' * 10, 1 << 20)


@pytest.mark.parametrize(
    ("encoding", "said"), [("gzip", "not valid gzip"), ("deflate", "^bytes follow the end")]
)
def test_bytes_after_the_end(encoding: str, said: str) -> None:
    """What follows the end of the compressed body is never text."""
    with pytest.raises(ProtocolError, match=said):
        feed_all(made(encoding), PACKED[encoding] + b"trailing garbage", 1 << 20)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_h07_a_bomb_comes_in_bounded_pieces(encoding: str) -> None:
    """A body of 64 MB in 64 KB is handed out in pieces of at most `PIECE_BYTES`."""
    size = 64 * 1024 * 1024
    packer = zlib.compressobj(9, wbits=31 if encoding == "gzip" else 15)
    packed = b"".join(packer.compress(b" " * 2**20) for _ in range(64)) + packer.flush()
    inflater = made(encoding)
    pieces = [len(inflater.feed(packed))]
    while inflater.pending:
        pieces.append(len(inflater.more()))
    assert max(pieces) == PIECE_BYTES
    assert sum(pieces) == size
    inflater.finish()


@pytest.mark.parametrize("encoding", ["", " ", "identity", "Identity"])
def test_a_plain_body(encoding: str) -> None:
    """A plain body needs nothing."""
    assert Inflater.of(encoding) is None


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "é" * 500])
def test_h04_an_encoding_that_was_never_offered(encoding: str) -> None:
    """Another encoding is a ProtocolError that says what was offered, and shows little of it."""
    with pytest.raises(ProtocolError, match=f"only {ACCEPT_ENCODING} is accepted$") as caught:
        Inflater.of(encoding)
    assert len(caught.value.message) < 150
