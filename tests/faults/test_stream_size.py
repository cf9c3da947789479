"""Faults of the stream, part 3: too much of something."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from berlin import Timeouts, errors
from support.fault_play import PROMPT, ask, memory_bound, open_berlin, play
from support.fault_server import FaultServer
from support.fault_steps import LAST_CHUNK, Repeat, Script, Send, begin_stream, chunk, line, stream

IMPATIENT = Timeouts(connect=5, first_event=2, idle=2, total=30)
BLOCK = 64 * 1024
LONGEST_LINE = 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("pieces", "limit"), [([], "first_event"), (["a"], "idle")], ids=["at once", "after text"]
)
@pytest.mark.parametrize("every", [0.0, 0.02], ids=["flood", "trickle"])
async def test_S10_blank_lines_for_ever(pieces: list[str], limit: str, every: float) -> None:
    """Blank lines are no progress: the limit passes as if nothing came, and nothing piles up."""
    blanks = Repeat(chunk(b"\n" * (1000 if not every else 1)), every=every)
    with memory_bound(megabytes=20):
        seen = await play((*begin_stream(*map(line, pieces)), blanks), timeouts=IMPATIENT)
    assert seen.failed_with(errors.UpstreamTimeoutError, after=pieces).startswith(limit)
    assert seen.chats[0].connection.client_closed_at is not None


async def test_S11_line_of_300_kilobytes() -> None:
    """A line may be longer than the limits of line readers."""
    words = "Ö" * 150_000
    seen = await play(stream(line(words), line("!")))
    assert seen.text == words + "!"


async def test_S12_line_of_10_megabytes() -> None:
    """A line of 10 MB is one piece, and takes less than 100 MB to read."""
    blocks = 160
    script: Script = (
        *begin_stream(b'{"content":"'),
        Repeat(chunk(b"x" * BLOCK), times=blocks),
        Send(chunk(b'"}\n') + LAST_CHUNK),
    )
    with memory_bound(megabytes=100):
        seen = await play(script)
    assert seen.text == "x" * BLOCK * blocks


async def test_S13_line_that_never_ends() -> None:
    """A line is given up at 16 MB, with its connection, and little more than that is held."""
    script: Script = (*begin_stream(line("a"), b'{"content":"'), Repeat(chunk(b"x" * BLOCK)))
    with memory_bound(megabytes=100):
        seen = await play(script)
    message = seen.failed_with(errors.ProtocolError, after=["a"])
    assert message == f"a line is longer than {LONGEST_LINE} bytes"
    assert seen.chats[0].connection.client_closed_at is not None


@pytest.mark.parametrize("field", ["content", "x"])
@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
async def test_S29_deep_nesting(field: str, begin: str, end: str) -> None:
    """JSON that is nested 100,000 deep is a protocol error, wherever it stands."""
    deep = f'{{"content":"b","{field}":{begin * 100_000}1{end * 100_000}}}\n'
    seen = await play(stream(line("a"), deep.encode(), line("c")))
    seen.failed_with(errors.ProtocolError, after=["a"])


async def test_S41_many_tiny_lines() -> None:
    """200,000 tiny lines arrive all, in order, in less than 10 seconds."""
    words = [f"{number} " for number in range(200_000)]
    blocks = [b"".join(map(line, words[at : at + 1000])) for at in range(0, len(words), 1000)]
    seen = await play(stream(*blocks))
    assert seen.pieces == words
    assert seen.error is None


async def test_S41_many_tiny_lines_take_no_memory() -> None:
    """What was handed on is not kept: 50,000 lines take no more memory than a few."""
    block, blocks = line("x") * 500, 100
    script = (*begin_stream(), Repeat(chunk(block), times=blocks), Send(LAST_CHUNK))
    count = 0
    async with FaultServer(script) as server, open_berlin(server.url) as berlin:
        assert (await ask(berlin)).error is None  # whatever is made once is made now
        with memory_bound(megabytes=8):
            async with aclosing(berlin.text(PROMPT)) as pieces:
                async for piece in pieces:
                    assert piece == "x"
                    count += 1
    assert count == 500 * blocks
