"""How far a gateway could go that stands on nothing: bare protocols, without a parser of HTTP.

It translates Berlin's wire into OpenAI's chunks as `bare.py` does. It trusts both sides blindly, so
it is a measure and no design: no real gateway can leave out what this one leaves out.

    python bench/gateways/protocol.py URL        prints its port
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections import deque

import msgspec
import uvloop


class Line(msgspec.Struct, gc=False):
    """One piece of the service."""

    content: str


LINES = msgspec.json.Decoder(Line)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class Upstream(asyncio.Protocol):
    """One kept connection to the service."""

    def __init__(self) -> None:
        self.client: Client | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport

    def data_received(self, data: bytes) -> None:
        client = self.client
        assert client is not None
        # A line of the service is a line of a chunk too: sizes and blanks are thrown away.
        lines = [line for line in data.split(b"\r\n") if line.startswith(b"{")]
        before = client.before
        if lines:
            pieces = b"".join(
                b'%b%b},"finish_reason":null}]}\n\n' % (before, msgspec.json.encode(line.content))
                for line in LINES.decode_lines(b"".join(lines))
            )
            head = b"" if client.begun else HEAD
            client.begun = True
            client.transport.write(b"%b%x\r\n%b\r\n" % (head, len(pieces), pieces))
        if data.endswith(b"0\r\n\r\n"):
            end = b"data: %b,%b" % (client.head, END)
            client.transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(end), end))
            self.client = None
            IDLE.append(self)


IDLE: deque[Upstream] = deque()


class Client(asyncio.Protocol):
    """One client."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport
        self.buffer = b""
        self.begun = False
        self.task: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        _, _, body = self.buffer.partition(b"\r\n\r\n")
        if not body.endswith(b"}"):
            return
        self.buffer = b""
        asked = json.loads(body)
        self.head = msgspec.json.encode(
            {
                "id": f"chatcmpl-{uuid.uuid4().hex}",
                "object": "chat.completion.chunk",
                "created": 1764000000,
                "model": asked["model"],
            }
        )[:-1]
        self.before = b'data: %b,"choices":[{"index":0,"delta":{"content":' % self.head
        self.begun = False
        told = json.dumps(
            {"prompt": asked["messages"][-1]["content"], "options": {"model": asked["model"]}}
        ).encode()
        self.request = (
            b"POST /%b/api/chat/completions HTTP/1.1\r\nHost: x\r\ntoken: bench\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (asked["model"].encode(), len(told), told)
        )
        if IDLE:
            self.send(IDLE.pop())
        else:
            self.task = asyncio.get_running_loop().create_task(self.connect())

    async def connect(self) -> None:
        host, port = sys.argv[1].removeprefix("http://").split(":")
        loop = asyncio.get_running_loop()
        _, upstream = await loop.create_connection(Upstream, host, int(port))
        self.send(upstream)

    def send(self, upstream: Upstream) -> None:
        upstream.client = self
        upstream.transport.write(self.request)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Client, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
