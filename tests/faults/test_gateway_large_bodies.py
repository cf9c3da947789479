"""The gateway, third part: bodies that are too much (G07, G15, G17, G33)."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from support.gateway import DIALECTS, OPENAI, WITH_KEYS, Dialect
from support.gateway_loop import never_blocked, one, peak_mib

MIB = 2**20


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g07_a_body_of_1_gb(dialect: Dialect, framing: str) -> None:
    """It is refused while it comes: most of it is never read, and memory stays flat."""
    block = b" " * MIB
    async with one() as (at, _):
        shown = "".join(f"{k}: {v}\r\n" for k, v in (await at.headers(dialect)).items())
        how = (
            f"Content-Length: {1024 * MIB}" if framing == "length" else "Transfer-Encoding: chunked"
        )
        begin = f"POST {dialect.path} HTTP/1.1\r\nHost: localhost\r\n{shown}{how}\r\n\r\n"
        piece = block if framing == "length" else b"%x\r\n%b\r\n" % (MIB, block)
        before = peak_mib()
        sent = 0
        async with at.connection() as (reader, writer), never_blocked():
            writer.write(begin.encode())
            try:
                async with asyncio.timeout(30):
                    while sent < 1024:
                        writer.write(piece)
                        await writer.drain()
                        sent += 1
                        await asyncio.sleep(0)
            except OSError:
                pass
            assert sent < 200, f"{sent} MiB were taken"
            try:
                said = await reader.read()
            except OSError:
                said = b""  # the answer went down with the connection
        assert said == b"" or said.startswith(b"HTTP/1.1 413 ")
        assert peak_mib() - before < 150
        assert (await at.ask(dialect)).status == 200


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g15_gzip_bomb(dialect: Dialect) -> None:
    """A packed body that becomes 1 GiB is refused before it has grown."""
    block = gzip.compress(b" " * (64 * MIB))
    async with one() as (at, provider):
        before = peak_mib()
        async with never_blocked():
            answer = await at.post(dialect, block * 16, headers={"Content-Encoding": "gzip"})
        assert answer.status in (400, 413, 415)
        assert answer.message
        assert peak_mib() - before < 150
    assert provider.requests == []


def many(item: bytes, before: bytes, after: bytes, size: int = 20 * MIB) -> bytes:
    """Return a body that is full of one item."""
    room = size - len(before) - len(after)
    return before + (item * (room // len(item)))[:-1] + after


HEAD, TAIL = b'{"model":"s:m1","max_tokens":5,', b"}"
MESSAGES = b'"messages":[{"role":"user","content":"x"}]'
HUGE = {
    "a million messages": many(b'{"role":"u","content":""},', HEAD + b'"messages":[', b"]}"),
    "messages, escaped": many(
        b'{"r\\u006fle":"user","content":""},', HEAD + b'"messages":[', b"]}"
    ),
    "numbers as messages": many(b"0,", HEAD + b'"messages":[', b"]}"),
    "parts": many(b"[],", HEAD + b'"messages":[{"role":"user","content":[', b"]}]}"),
    "tools": many(b"{},", HEAD + MESSAGES + b',"tools":[', b"]}"),
    "stops": many(b'"",', HEAD + MESSAGES + b',"stop":[', b"]}"),
    "ignored": many(b"0,", HEAD + MESSAGES + b',"metadata":[', b"]}"),
    "text": many(b"x ", HEAD + b'"messages":[{"role":"user","content":"', b'"}]}'),
    "prompt": many(b"0,", HEAD + b'"parentMessageId":"x","prompt":[', b"]}"),
}


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g17_g33_the_loop_goes_on(dialect: Dialect) -> None:
    """20 MiB of whatever JSON is answered, or refused, while other requests go on."""
    member = next(
        name for name in ("messages", "prompt", "input") if name in dialect.body("", "", False)
    )
    cases = [case for case, body in HUGE.items() if b'"%b":' % member.encode() in body]
    async with one() as (at, _):
        for case in (*cases, "ignored", "text"):
            async with never_blocked():
                answer = await at.post(dialect, HUGE[case])
            assert answer.status in (200, 400, 413), (case, answer.data[:200])
            assert len(answer.data) < 2000


async def test_g17_g33_memory_of_a_refused_body() -> None:
    """A body of 20 MiB does not become a gigabyte of objects."""
    async with one() as (at, _):
        for dialect in WITH_KEYS:
            await at.post(dialect, HUGE["text"])
        before = peak_mib()
        for case in ("numbers as messages", "parts", "tools"):
            await at.post(OPENAI, HUGE[case])
    assert peak_mib() - before < 200


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g17_commas_in_a_text_are_no_values(dialect: Dialect) -> None:
    """A table of 2 MiB with a comma after each digit is one message, and is answered."""
    table = "1,2,3,4\n" * (2 * MIB // 8)
    async with one() as (at, provider), never_blocked():
        answer = await at.ask(dialect, table)
    assert answer.status == 200, answer.data[:200]
    assert provider.requests[0].messages[-1].text == table
