"""Faults of HTTP, part 2: answers whose head or body is not what HTTP says."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from berlin import Timeouts, errors
from support.fault_play import PROMPT, ask, memory_bound, open_berlin, play
from support.fault_server import FaultServer
from support.fault_steps import (
    CHUNKED,
    LAST_CHUNK,
    Close,
    Hang,
    Repeat,
    Reset,
    Script,
    Send,
    Wait,
    answer,
    begin_stream,
    chunk,
    head,
    line,
    stream,
)

IMPATIENT = Timeouts(connect=5, first_event=1.5, idle=1, total=9)
LENGTH = "Content-Length: {}"
BODY = line("a")


async def test_H08_chunked_body_without_final_chunk() -> None:
    """A chunked answer that ends without its last chunk broke off."""
    seen = await play((*begin_stream(line("a"), line("b")), Close()))
    seen.failed_with(errors.ConnectionLostError, after=["a", "b"])
    assert len(seen.chats) == 1


@pytest.mark.parametrize("end", [Hang(), Close()], ids=["kept open", "closed"])
@pytest.mark.parametrize("bad", [b"zz\r\n", b"-1\r\nx\r\n", b"1\r\nxyz\r\n", b"f" * 20 + b"\r\n"])
async def test_H09_bad_chunk_size(bad: bytes, end: Hang | Close) -> None:
    """A chunk that is none is a protocol error at once, after the text before it."""
    limits = Timeouts(connect=5, first_event=5, idle=2, total=10)
    seen = await play((*begin_stream(line("a")), Wait(0.05), Send(bad), end), timeouts=limits)
    seen.failed_with(errors.ProtocolError, after=["a"])


async def test_H09_bad_chunk_size_while_nobody_reads() -> None:
    """A bad chunk that came while the reader was busy is the same error when it reads on."""
    script: Script = (*begin_stream(line("a")), Wait(0.05), Send(b"zz\r\n"), Hang())
    got = []
    async with FaultServer(script) as server, open_berlin(server.url) as berlin:
        with pytest.raises(errors.BerlinError) as caught:
            async with aclosing(berlin.text(PROMPT)) as pieces:
                async for piece in pieces:
                    got.append(piece)
                    await asyncio.wait_for(server.chats[0].connection.ended(), 20)
        assert type(caught.value) is errors.ProtocolError
        assert got == ["a"]


async def test_H09_bad_chunk_size_with_the_head() -> None:
    """A bad chunk that comes together with the head spoils the whole answer."""
    seen = await play((Send(head("200 OK", CHUNKED) + chunk(BODY) + b"zz\r\n"), Hang()))
    seen.failed_with(errors.ProtocolError)


async def test_H10_content_length_larger_than_the_body() -> None:
    """A body that is shorter than its Content-Length broke off."""
    seen = await play((Send(head("200 OK", LENGTH.format(1000)) + BODY), Close()))
    seen.failed_with(errors.ConnectionLostError, after=["a"])
    assert len(seen.chats) == 1


async def test_H10_content_length_larger_than_the_body_kept_open() -> None:
    """If the connection stays open, the rest is waited for up to the idle limit."""
    script: Script = (Send(head("200 OK", LENGTH.format(1000)) + BODY), Hang())
    seen = await play(script, timeouts=IMPATIENT)
    assert seen.failed_with(errors.UpstreamTimeoutError, after=["a"]).startswith("idle")


async def test_H11_bytes_after_content_length() -> None:
    """Bytes that come after the answer are no part of it, and the connection is given up."""
    first: Script = (
        Send(head("200 OK", LENGTH.format(len(BODY)))),
        Send(BODY),
        Wait(0.05),
        Send(line("EXTRA")),
    )
    async with FaultServer(first, stream(line("b"))) as server:
        async with open_berlin(server.url) as berlin:
            assert (await ask(berlin)).text == "a"
            assert await server.chats[0].connection.left_by_client()
            assert (await ask(berlin)).text == "b"
        assert server.chats[1].connection.number != server.chats[0].connection.number


async def test_H11_bytes_after_content_length_in_the_same_segment() -> None:
    """Bytes beyond the length in the very segment of the head make it no HTTP answer."""
    seen = await play((Send(head("200 OK", LENGTH.format(len(BODY))) + BODY + line("EXTRA")),))
    seen.failed_with(errors.ProtocolError)
    assert len(seen.chats) == 1


@pytest.mark.parametrize("length", [5, len(BODY), 1000])
async def test_H12_both_content_length_and_chunked(length: int) -> None:
    """An answer with two lengths is refused, and its connection is not used again."""
    two: Script = (
        Send(head("200 OK", LENGTH.format(length), CHUNKED)),
        Send(chunk(BODY) + LAST_CHUNK),
    )
    async with FaultServer(two, stream(line("b"))) as server:
        async with open_berlin(server.url) as berlin:
            (await ask(berlin)).failed_with(errors.ProtocolError)
            assert (await ask(berlin)).text == "b"
        assert len(server.chats) == 2
        assert server.chats[1].connection.number != server.chats[0].connection.number


async def test_H13_reset_in_mid_stream() -> None:
    """A reset after some text is an error after that text: the request is not sent again."""
    seen = await play((*begin_stream(line("a"), line("b")), Wait(0.1), Reset()))
    seen.failed_with(errors.ConnectionLostError, after=["a", "b"])
    assert len(seen.chats) == 1


async def test_H14_reset_before_headers() -> None:
    """A reset instead of an answer is tried again, three times at most."""
    seen = await play((Reset(),))
    seen.failed_with(errors.ConnectionLostError)
    assert len(seen.chats) == 3
    assert len(seen.logins) == 1


async def test_H14_reset_before_headers_once() -> None:
    """If the second try is answered, nobody hears of the first."""
    assert (await play((Reset(),), stream(line("a")))).text == "a"


async def test_H15_close_without_an_answer() -> None:
    """A connection that is closed instead of an answer is tried again, three times at most."""
    seen = await play((Close(),))
    seen.failed_with(errors.ConnectionLostError)
    assert len(seen.chats) == 3
    assert len({request.connection.number for request in seen.chats}) == 3


async def test_H15_close_within_the_head() -> None:
    """Half a head is no answer either."""
    seen = await play((Send(head("200 OK", CHUNKED)[:-4]), Close()))
    seen.failed_with(errors.ConnectionLostError)
    assert len(seen.chats) == 3


async def test_H16_one_line_then_silence() -> None:
    """A connection that falls silent after some text ends at the idle limit."""
    seen = await play((*begin_stream(line("a")), Hang()), timeouts=IMPATIENT)
    assert seen.failed_with(errors.UpstreamTimeoutError, after=["a"]).startswith("idle")
    assert seen.chats[0].connection.client_closed_at is not None
    assert len(seen.chats) == 1


async def test_H17_silence_before_headers() -> None:
    """A service that never answers ends at the limit for the first event, and is asked once."""
    seen = await play((Hang(),), timeouts=IMPATIENT)
    assert seen.failed_with(errors.UpstreamTimeoutError).startswith("first_event")
    assert len(seen.chats) == 1


async def test_H17_silence_of_the_login() -> None:
    """A login that never answers ends at the same limit, and nothing else is sent."""
    seen = await play(stream(BODY), logins=[(Hang(),)], timeouts=IMPATIENT)
    assert seen.failed_with(errors.UpstreamTimeoutError).startswith("first_event")
    assert (len(seen.logins), len(seen.chats)) == (1, 0)


async def test_H18_answer_that_trickles_for_ever() -> None:
    """Progress that never ends is ended by the total limit."""
    limits = Timeouts(connect=5, first_event=2, idle=2, total=0.8)
    bytewise = tuple(Send(chunk(BODY[at : at + 1])) for at in range(len(BODY)))
    forever = tuple(step for _ in range(1000) for one in bytewise for step in (one, Wait(0.005)))
    seen = await play((*begin_stream(), *forever), timeouts=limits)
    assert type(seen.error) is errors.UpstreamTimeoutError
    assert seen.error.message.startswith("total")
    assert set(seen.pieces) == {"a"}
    assert len(seen.chats) == 1


async def test_H19_headers_trickle() -> None:
    """A head that comes byte by byte ends at the limit for the first event."""
    slow = tuple(step for _ in range(1000) for step in (Send(b"x"), Wait(0.01)))
    seen = await play((Send(head("200 OK", "X-Slow: ")[:-4]), *slow), timeouts=IMPATIENT)
    assert seen.failed_with(errors.UpstreamTimeoutError).startswith("first_event")
    assert len(seen.chats) == 1


@pytest.mark.parametrize("status", ["100 Continue", "102 Processing", "103 Early Hints"])
@pytest.mark.parametrize("every", [0.0, 0.05], ids=["flood", "trickle"])
async def test_H20_endless_1xx(status: str, every: float) -> None:
    """Interim answers are no progress, do not pile up, and a flood of them ends at the 100th."""
    with memory_bound(megabytes=20):
        seen = await play((Repeat(head(status), every=every),), timeouts=IMPATIENT)
    if every:
        assert seen.failed_with(errors.UpstreamTimeoutError).startswith("first_event")
    else:
        assert "more than 100 interim responses" in seen.failed_with(errors.ProtocolError)
    assert len(seen.chats) == 1


async def test_H21_one_header_of_a_megabyte() -> None:
    """A header of a megabyte is a protocol error, before all of it was read."""
    with memory_bound(megabytes=20):
        seen = await play((Send(head("200 OK", f"X-Big: {'x' * 2**20}")), Hang()))
    seen.failed_with(errors.ProtocolError)
    assert len(seen.chats) == 1


async def test_H22_ten_thousand_headers() -> None:
    """Ten thousand headers are a protocol error."""
    many = [f"X-{number}: x" for number in range(10_000)]
    seen = await play((Send(head("200 OK", *many, LENGTH.format(len(BODY))) + BODY), Hang()))
    seen.failed_with(errors.ProtocolError)
    assert len(seen.chats) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b'{"content":"a"}\n',
    ],
)
async def test_H23_garbage_instead_of_http(garbage: bytes) -> None:
    """What is not HTTP is a protocol error at once, also when the connection stays open."""
    seen = await play((Send(garbage), Hang()))
    seen.failed_with(errors.ProtocolError)
    assert len(seen.chats) == 1


@pytest.mark.parametrize("value", ["b\rc", "b\0c", "b\rX-Forged: yes"])
async def test_H24_header_with_bare_cr_or_nul(value: str) -> None:
    """A header with a character that could forge another one is a protocol error."""
    seen = await play(answer("200 OK", BODY, f"X-A: {value}"))
    seen.failed_with(errors.ProtocolError)
    assert len(seen.chats) == 1
