"""The chat service of the benchmark. It is never the bottleneck: a protocol on uvloop that parses
what it must, and writes bytes that were rendered before the first request came.

The path says what is served: `/burst/256/…` gives 256 pieces in one write, `/paced/20/200/…` gives
200 pieces, one each 20 ms, `/hold/1/…` gives one piece and stays open. After it comes the
path of the dialect: `/api/…` of Berlin, or `/v1/…` of OpenAI.

    python bench/service.py        prints its port, serves until it is killed
"""

from __future__ import annotations

import asyncio
import re
import sys
from functools import cache
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parent))
from pieces import pieces

LOGIN = b'{"data":{"token":"bench"}}'
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"

# As long as the chunks of the real service are.
CHUNK = (
    b'data: {"id":"chatcmpl-8b6f0c2d4e5a","object":"chat.completion.chunk","created":1764000000,'
    b'"model":"bench","choices":[{"index":0,"delta":%s,"finish_reason":%s}]}\n\n'
)
MODELS = b'{"object":"list","data":[{"id":"bench","object":"model","created":1,"owned_by":"b"}]}'


@cache
def berlin_parts(count: int) -> list[bytes]:
    """Return what each piece is on the wire of Berlin."""
    return [b'{"content":"%s"}\n' % text.encode() for text in pieces(count)]


@cache
def openai_parts(count: int) -> list[bytes]:
    """Return what each piece is on the wire of OpenAI; the last brings the end with it."""
    parts = [CHUNK % (b'{"content":"%s"}' % text.encode(), b"null") for text in pieces(count)]
    parts[0] = CHUNK % (b'{"role":"assistant","content":""}', b"null") + parts[0]
    parts[-1] += CHUNK % (b"{}", b'"stop"') + b"data: [DONE]\n\n"
    return parts


def chunk(part: bytes) -> bytes:
    """Return a chunk of HTTP."""
    return b"%x\r\n%s\r\n" % (len(part), part)


class Answer:
    """An answer as its bytes: the head, and each piece as a chunk of its own."""

    def __init__(self, kind: str, count: int) -> None:
        is_berlin = kind == "api"
        content_type = b"application/x-ndjson" if is_berlin else b"text/event-stream"
        parts = berlin_parts(count) if is_berlin else openai_parts(count)
        self.head = HEAD % content_type
        # Of the answer of a million pieces no second copy is made for each.
        self.chunks = [chunk(part) for part in parts]
        self.whole = self.head + b"".join(self.chunks) + END if count < 10_000 else b""


answer = cache(Answer)
_REQUEST = re.compile(rb"(GET|POST) /(burst|paced|hold)/([\d/]+)/(api|v1)/(\S*) ")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Service(asyncio.Protocol):
    """One connection."""

    streams = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport
        self.loop = asyncio.get_running_loop()
        self.buffer = b""
        self.is_open = True
        self.room = asyncio.Event()
        self.room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self.room.set()

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            head = self.buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            length = _LENGTH.search(self.buffer, 0, head + 2)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < end:
                return
            asked = _REQUEST.match(self.buffer)
            self.buffer = self.buffer[end:]
            self.serve(asked)

    def serve(self, asked: re.Match[bytes] | None) -> None:
        if asked is None:
            self.transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        _, load, numbers, kind, path = asked.groups()
        if path == b"login":
            self.transport.write(JSON_HEAD % (len(LOGIN), LOGIN))
        elif path == b"models":
            self.transport.write(JSON_HEAD % (len(MODELS), MODELS))
        else:
            *interval, count = map(int, numbers.split(b"/"))
            self.stream(load, interval, answer(kind.decode(), count))

    def stream(self, load: bytes, interval: list[int], answer: Answer) -> None:
        if load == b"burst" and answer.whole:
            self.transport.write(answer.whole)
        elif load == b"burst":
            self.work = self.loop.create_task(self.write_long(answer))
        elif load == b"hold":
            self.transport.write(answer.head + answer.chunks[0])
        else:
            # Streams are not synchronized: each has its own time within the interval.
            Service.streams += 1
            seconds = interval[0] / 1000
            at = self.loop.time() + seconds * (Service.streams * 0.618034 % 1)
            self.transport.write(answer.head + answer.chunks[0])
            self.loop.call_at(at, self.pace, answer, 1, at, seconds)

    def pace(self, answer: Answer, n: int, at: float, seconds: float) -> None:
        if not self.is_open:
            return
        if n + 1 == len(answer.chunks):
            self.transport.write(answer.chunks[n] + END)
            return
        self.transport.write(answer.chunks[n])
        self.loop.call_at(at + seconds, self.pace, answer, n + 1, at + seconds, seconds)

    async def write_long(self, answer: Answer) -> None:
        self.transport.write(answer.head)
        for n in range(0, len(answer.chunks), 200):
            await self.room.wait()
            self.transport.write(b"".join(answer.chunks[n : n + 200]))
        self.transport.write(END)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
