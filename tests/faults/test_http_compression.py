"""Faults of HTTP, part 1: compressed answers."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from berlin import Timeouts, errors
from support.fault_play import PROMPT, memory_bound, open_berlin, play
from support.fault_server import FaultServer
from support.fault_steps import (
    LAST_CHUNK,
    Repeat,
    Send,
    WaitFor,
    begin_stream,
    chunk,
    line,
    stream,
)

GZIP = ("Content-Encoding: gzip",)
DEFLATE = ("Content-Encoding: deflate",)
WINDOW_BITS = {"gzip": 31, "zlib": 15, "bare": -15}
MEGABYTE = 2**20


def packed(lines: list[bytes], kind: str) -> Iterator[bytes]:
    """Compress lines, each flushed so that it can be read when it comes."""
    packer = zlib.compressobj(wbits=WINDOW_BITS[kind])
    for one in lines:
        yield packer.compress(one) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


async def test_H01_gzip_flushed_per_line() -> None:
    """Each line of a gzip answer arrives when it was sent, not when the next one comes."""
    first, second, *rest = packed([line("a"), line("b")], "gzip")
    read = asyncio.Event()
    script = (
        *begin_stream(first, headers=GZIP),
        WaitFor(read),
        *(Send(chunk(part)) for part in (second, *rest)),
        Send(LAST_CHUNK),
    )
    got = []
    async with (
        FaultServer(script) as server,
        open_berlin(server.url) as berlin,
        aclosing(berlin.text(PROMPT)) as pieces,
    ):
        async for piece in pieces:
            got.append(piece)
            read.set()  # the server sends no more before this
    assert got == ["a", "b"]


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_H01_gzip_cut_anywhere(size: int) -> None:
    """A gzip answer is read exactly, wherever it is cut."""
    data = gzip.compress(line("Zürich ") + line("東京"))
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    assert (await play(stream(*parts, headers=GZIP))).text == "Zürich 東京"


async def test_H01_gzip_of_several_members() -> None:
    """A gzip answer may be of several members, one after another."""
    seen = await play(stream(*(gzip.compress(line(one)) for one in "abc"), headers=GZIP))
    assert seen.text == "abc"


@pytest.mark.parametrize("kind", ["zlib", "bare"])
async def test_H02_deflate(kind: str) -> None:
    """Deflate is read in the format that the standard says and in the one that some send."""
    lines = [line("Zürich "), line("東京")]
    seen = await play(stream(*packed(lines, kind), headers=DEFLATE))
    assert seen.pieces == ["Zürich ", "東京"]
    assert seen.error is None


@pytest.mark.parametrize("codec", ["br", "zstd"])
async def test_H03_codec_that_was_never_offered(codec: str) -> None:
    """Only gzip and deflate are offered; another codec is a protocol error that names it."""
    seen = await play(stream(b"\x0b\x02\x80abc", headers=(f"Content-Encoding: {codec}",)))
    assert codec in seen.failed_with(errors.ProtocolError)
    offers = {request.headers["accept-encoding"] for request in seen.requests}
    assert offers == {"gzip, deflate"}
    assert len(seen.chats) == 1


@pytest.mark.parametrize("codec", ["rot13", "gzip, gzip", "gzip, br", "x" * 5000])
async def test_H04_unknown_content_encoding(codec: str) -> None:
    """An encoding that nobody knows is a protocol error, and its bytes are not text."""
    seen = await play(stream(line("a"), headers=(f"Content-Encoding: {codec}",)))
    assert codec[:10] in seen.failed_with(errors.ProtocolError)
    assert seen.chats[0].connection.client_closed_at is not None


async def test_H04_identity() -> None:
    """An encoding that says "none" is none."""
    seen = await play(stream(line("a"), headers=("Content-Encoding: identity",)))
    assert seen.text == "a"


@pytest.mark.parametrize(("kind", "headers"), [("gzip", GZIP), ("zlib", DEFLATE)])
async def test_H05_corrupt_after_some_text(kind: str, headers: tuple[str, ...]) -> None:
    """What was good before the corrupt bytes is delivered; then comes a protocol error."""
    good = next(packed([line("a")], kind))
    seen = await play(stream(good, b"\xff\xff\xff\xff" * 20, headers=headers))
    assert "not valid" in seen.failed_with(errors.ProtocolError, after=["a"])


@pytest.mark.parametrize("kind", ["gzip", "zlib"])
async def test_H05_corrupt_in_the_same_read(kind: str) -> None:
    """Text is delivered, too, if the corrupt bytes have arrived with it."""
    good = next(packed([line("a")], kind))
    headers = GZIP if kind == "gzip" else DEFLATE
    seen = await play(stream(good + b"\xff\xff\xff\xff" * 20, headers=headers))
    assert "not valid" in seen.failed_with(errors.ProtocolError, after=["a"])


async def test_H05_wrong_checksum() -> None:
    """A gzip answer whose checksum is wrong is a protocol error after its text."""
    data = bytearray(gzip.compress(line("a")))
    data[-5] ^= 0xFF
    seen = await play(stream(bytes(data[:-8]), bytes(data[-8:]), headers=GZIP))
    seen.failed_with(errors.ProtocolError, after=["a"])


async def test_H05_no_gzip_at_all() -> None:
    """Plain text that is declared to be gzip is a protocol error."""
    seen = await play(stream(line("a"), headers=GZIP))
    seen.failed_with(errors.ProtocolError)


@pytest.mark.parametrize("missing", [1, 2, 4, 5])
@pytest.mark.parametrize(
    ("kind", "headers"), [("gzip", GZIP), ("zlib", DEFLATE), ("bare", DEFLATE)]
)
async def test_H06_cut_off(missing: int, kind: str, headers: tuple[str, ...]) -> None:
    """A compressed answer without its end was cut off, however cleanly HTTP ends it."""
    first, end = packed([line("a")], kind)
    missing = min(missing, len(end))
    seen = await play(stream(first, end[:-missing], headers=headers))
    assert "cut off" in seen.failed_with(errors.TruncatedStreamError, after=["a"])


@pytest.mark.parametrize("length", [1, 9, 12])
async def test_H06_cut_off_before_any_text(length: int) -> None:
    """Nor is the beginning of a compressed answer an empty one."""
    seen = await play(stream(gzip.compress(line("a"))[:length], headers=GZIP))
    seen.failed_with(errors.TruncatedStreamError)


@pytest.mark.parametrize(
    ("filling", "limits", "kind", "said"),
    [
        (
            b"\n",
            Timeouts(connect=5, first_event=0.5, idle=0.5, total=20),
            errors.UpstreamTimeoutError,
            "first_event",
        ),
        (
            b" ",
            Timeouts(connect=5, first_event=20, idle=20, total=30),
            errors.ProtocolError,
            "a line is longer than",
        ),
    ],
    ids=["lines", "one line"],
)
async def test_H07_gzip_bomb(
    filling: bytes, limits: Timeouts, kind: type[errors.BerlinError], said: str
) -> None:
    """A gigabyte of blanks in a megabyte of gzip fills no memory and blocks nothing."""
    packer = zlib.compressobj(9, wbits=31)
    begin = packer.compress(b"") + packer.flush(zlib.Z_SYNC_FLUSH)
    # A full flush forgets what came before, so the same bytes may follow again and again.
    packer.compress(filling * MEGABYTE)
    begin += packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(filling * MEGABYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    assert len(block) < 2048
    script = (*begin_stream(begin, headers=GZIP), Repeat(chunk(block * 16)))
    with memory_bound(megabytes=100):
        seen = await play(script, timeouts=limits)
    assert seen.failed_with(kind).startswith(said)
    assert len(seen.chats) == 1
