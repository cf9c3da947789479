"""An HTTP server that misbehaves on purpose: real sockets, every byte under a script's control.

    async with FaultServer(answer("500 Oops"), stream(line("Hello"))) as server:
        ...  # the first chat at server.url gets a 500, every further one an answer
    assert len(server.chats) == 2

It reads requests as a proper server does, and writes down what it read.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from support.fault_steps import Script, login_answer

LOGIN_PATH = "/api/login"
CHAT_PATH = "/api/chat/completions"
TOKEN = "token-of-the-fault-server"
STEP_S = 0.01


class _Gone(Exception):
    """The client is gone, or the script closed the connection: the script ends here."""


@dataclass
class SeenRequest:
    """A request as it came in.

    Attributes:
        method: `POST`, `CONNECT` …
        target: the request target as it was written; absolute if the client takes us for a proxy.
        headers: names in lower case.
        body: what came of the body when the script began.
        connection: what it came on.
    """

    method: str
    target: str
    headers: dict[str, str]
    connection: Connection
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path that is asked for."""
        return urlsplit(self.target).path


class Connection(asyncio.Protocol):
    """One accepted connection.

    Attributes:
        number: counted from 1, in the order of acceptance.
        requests: what came in on it.
        client_closed_at: the loop's time when the client closed or reset it; `None` if it did not.
        received: how many bytes came in.
    """

    def __init__(self, server: FaultServer) -> None:
        self.number = 0
        self.requests: list[SeenRequest] = []
        self.client_closed_at: float | None = None
        self.received = 0
        self._server = server
        self._buffer = bytearray()
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()
        self._left = asyncio.Event()
        self._we_closed = False

    async def left_by_client(self, within: float = 30.0) -> bool:
        """Wait until the client closes the connection; tell whether it did."""
        try:
            async with asyncio.timeout(within):
                await self._left.wait()
        except TimeoutError:
            return False
        return True

    # What a script may do (`fault_steps.Line`).

    async def send(self, data: bytes) -> None:
        self._check()
        self._transport.write(data)
        # The client, on the same loop, gets its turn: so that segments stay apart.
        await asyncio.sleep(0)
        if not self._writable.is_set():
            await self._first_of(self._writable)
        self._check()

    async def pause(self, seconds: float | None) -> None:
        if seconds is None:
            await self._gone.wait()
            raise _Gone
        # In small steps: the client's timers ring within it, however busy the machine is.
        for _ in range(max(1, round(seconds / STEP_S))):
            try:
                async with asyncio.timeout(min(seconds, STEP_S)):
                    await self._gone.wait()
            except TimeoutError:
                continue
            raise _Gone

    async def wait_for(self, event: asyncio.Event) -> None:
        await self._first_of(event)
        self._check()

    async def close(self) -> None:
        self._we_closed = True
        self._transport.close()
        raise _Gone

    async def reset(self) -> None:
        self.abort(reset=True)
        raise _Gone

    def abort(self, reset: bool = False) -> None:
        """Drop the connection, with whatever was not sent yet."""
        self._we_closed = True
        if reset:
            linger_no_time = struct.pack("ii", 1, 0)
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_no_time)
        self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # Written means: with the kernel. A script's next step begins after that. (With a high
        # of 0, asyncio's TLS would pause on an empty buffer, and never go on.)
        transport.set_write_buffer_limits(high=1, low=0)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server._accept(self)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self._buffer += data
        self._changed.set()

    def eof_received(self) -> None:
        self._note_client_closed()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._we_closed:
            self._note_client_closed()
        self._gone.set()
        self._changed.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # What the server does with it.

    async def serve(self) -> None:
        try:
            for step in self._server.greeting:
                await step.play(self)
            while True:
                request = await self._read_head()
                reads_all = self._server.reads_bodies or request.path != CHAT_PATH
                if reads_all:
                    request.body = await self._read_body(request.headers)
                else:
                    self._transport.pause_reading()
                self.requests.append(request)
                for step in self._server._script_for(request):
                    await step.play(self)
                if not reads_all:
                    await self.close()
        except _Gone:
            return

    async def ended(self) -> None:
        await self._gone.wait()

    async def _read_head(self) -> SeenRequest:
        text = (await self._read_until(b"\r\n\r\n")).decode("latin-1")
        first, *fields = text.removesuffix("\r\n\r\n").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {}
        for one in fields:
            name, _, value = one.partition(":")
            headers[name.lower()] = value.strip()
        return SeenRequest(method, target, headers, self)

    async def _read_body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return await self._read_exactly(int(headers.get("content-length", "0")))
        body = b""
        while size := int((await self._read_until(b"\r\n")).split(b";")[0], 16):
            body += (await self._read_exactly(size + 2))[:-2]
        while await self._read_until(b"\r\n") != b"\r\n":
            pass
        return body

    async def _read_until(self, end: bytes) -> bytes:
        while (at := self._buffer.find(end)) < 0:
            await self._more()
        return await self._read_exactly(at + len(end))

    async def _read_exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def _more(self) -> None:
        self._changed.clear()
        if self._gone.is_set():
            raise _Gone
        await self._changed.wait()

    async def _first_of(self, event: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(one.wait()) for one in (event, self._gone)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _check(self) -> None:
        if self._gone.is_set() or self._transport.is_closing():
            raise _Gone

    def _note_client_closed(self) -> None:
        if self.client_closed_at is None:
            self.client_closed_at = asyncio.get_running_loop().time()
            self._left.set()


@dataclass
class _Scripts:
    """Scripts for the first, second … request of a kind; the last one is for all further."""

    scripts: Sequence[Script]
    played: int = field(default=0)

    def next(self) -> Script:
        self.played += 1
        return self.scripts[min(self.played, len(self.scripts)) - 1]


class FaultServer:
    """A server on a free port of the loopback.

    Args:
        chats: scripts for the chats; the last one serves all further chats too.
        logins: scripts for the logins, likewise; by default, each gives `TOKEN`.
        connects: scripts for CONNECT requests, likewise: what a proxy answers.
        greeting: what is said on every connection before anything is read.
        tls: what to speak TLS with.
        reads_bodies: whether a chat's body is read before the script begins. If not, the
            connection is closed after the script, the body still unread.

    Attributes:
        requests: all that came in, in order.
        connections: all that were accepted, in order.
    """

    def __init__(
        self,
        *chats: Script,
        logins: Sequence[Script] = (login_answer(TOKEN),),
        connects: Sequence[Script] = ((),),
        greeting: Script = (),
        tls: ssl.SSLContext | None = None,
        reads_bodies: bool = True,
    ) -> None:
        self.requests: list[SeenRequest] = []
        self.connections: list[Connection] = []
        self.greeting = greeting
        self.reads_bodies = reads_bodies
        self._chats = _Scripts(chats or ((),))
        self._logins = _Scripts(logins)
        self._connects = _Scripts(connects)
        self._tls = tls
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The base URL of the service."""
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def chats(self) -> list[SeenRequest]:
        """The chats that came in."""
        return [request for request in self.requests if request.path == CHAT_PATH]

    @property
    def logins(self) -> list[SeenRequest]:
        """The logins that came in."""
        return [request for request in self.requests if request.path == LOGIN_PATH]

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: Connection(self), "127.0.0.1", 0, ssl=self._tls
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close all, and raise what a script failed with."""
        self._listener.close()
        for task, connection in zip(self._tasks, self.connections, strict=True):
            task.cancel()
            connection.abort()
        for connection in self.connections:
            await connection.ended()
        await self._listener.wait_closed()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    def _accept(self, connection: Connection) -> None:
        self.connections.append(connection)
        connection.number = len(self.connections)
        self._tasks.append(asyncio.get_running_loop().create_task(connection.serve()))

    def _script_for(self, request: SeenRequest) -> Script:
        self.requests.append(request)
        if request.method == "CONNECT":
            return self._connects.next()
        return (self._logins if request.path == LOGIN_PATH else self._chats).next()
