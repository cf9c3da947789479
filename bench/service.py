"""A service that is never the bottleneck: answers are rendered before the first request comes."""

from __future__ import annotations

import asyncio
import sys

import uvloop

LOGIN = b'{"data":{"token":"bench"}}'


def render(pieces: int, text: str) -> bytes:
    """Return the bytes of a whole answer, all in one burst; each piece is a chunk of HTTP."""
    line = b'{"content":"%s"}\n' % text.encode()
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    return head + b"%x\r\n%s\r\n" % (len(line), line) * pieces + b"0\r\n\r\n"


class Service(asyncio.Protocol):
    """Answers by path, without parsing more than it must."""

    answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, rest = self.buffer.partition(b"\r\n\r\n")
            length = 0
            for header in head.lower().split(b"\r\n"):
                if header.startswith(b"content-length:"):
                    length = int(header.partition(b":")[2])
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            if b"/api/login" in head.split(b"\r\n", 1)[0]:
                self.transport.write(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(LOGIN), LOGIN)
                )
            else:
                self.transport.write(self.answer)


async def main(pieces: int, text: str) -> None:
    Service.answer = render(pieces, text)
    server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
