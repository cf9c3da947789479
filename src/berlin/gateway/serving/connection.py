"""Limits connections: their number, and the time and memory for request heads.

aiohttp bounds each line of a head and the requests that are queued on a connection, but allows a
head a megabyte and as much time as an idle connection, and accepts any number of connections. This
module replaces the loop of its `RequestHandler` and so uses private names of it (3.14): the queue
of parsed requests and what bounds it, the future that exists while the connection waits for a
request, and the marks of a request in progress, which its `shutdown` reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import Any, cast

from aiohttp.http import RawRequestMessage, StreamWriter
from aiohttp.http_exceptions import BadHttpMethod, LineTooLong

from berlin.gateway import web
from berlin.gateway.body import MAX_BODY_BYTES
from berlin.gateway.serving.sweep import Sweep
from berlin.gateway.workers.listening import BACKLOG
from berlin.transport.pools import ShortQueue

HEADER_TIMEOUT_S = 20.0
KEEPALIVE_TIMEOUT_S = 75.0
MAX_CONNECTIONS = 5_000
# An unwanted body is read only briefly, in the hope that its sender reads the answer.
LINGERING_S = 0.05
# Seconds after the error event for the last bytes to be sent.
SHUTDOWN_TIMEOUT_S = 1.0
# Bytes of incomplete heads: of one connection, and of all together.
MAX_HEAD_BYTES = 64 * 1024
MAX_PARTIAL_HEADS_BYTES = 32 * 1024 * 1024
# How many of the longest unused connections are looked at to make room for a new one.
LOOKED_AT = 64
# A time limit may be exceeded by this part of it, and by at most a second.
PRECISION = 0.1


def _closing(status: str, body: str = "", more: str = "") -> bytes:
    kind = "Content-Type: text/plain; charset=utf-8\r\n" if body else ""
    head = f"Server: berlin\r\nConnection: close\r\n{kind}{more}Content-Length: {len(body)}\r\n\r\n"
    return f"HTTP/1.1 {status}\r\n{head}{body}".encode()


_TOO_SLOW = _closing("408 Request Timeout")
_TOO_LARGE = _closing("431 Request Header Fields Too Large")
_TOO_MANY = _closing("503 Service Unavailable", more="Retry-After: 2\r\n")
_MALFORMED = _closing("400 Bad Request", "this is not a good HTTP request\n")
_UNKNOWN_METHOD = _closing(
    "405 Method Not Allowed",
    "no path takes this method\n",
    "Allow: DELETE, GET, HEAD, OPTIONS, POST\r\n",
)
# The parser knows the names of methods, and shows a line with another one in its error.
_REQUEST_LINE = re.compile(r"b'[\w!#$%&*+.^`|~-]+ [!-~]+ HTTP/1\.[01]'", re.ASCII)


def _refusal(error: BaseException) -> bytes:
    if isinstance(error, LineTooLong):
        return _TOO_LARGE
    is_method = isinstance(error, BadHttpMethod) and _REQUEST_LINE.search(str(error))
    return _UNKNOWN_METHOD if is_method else _MALFORMED


_Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger("berlin.gateway")


class Server(web.Server):
    """Makes limited connections.

    Args:
        serve: answers a request; it raises nothing but ConnectionError.
        header_timeout_s: seconds from the start of a connection, or from the first byte of a later
            request, to the end of the request's head.
        keepalive_timeout_s: seconds that a connection may be idle between requests.
        max_connections: the most open connections. A further one takes the place of the one that
            has waited longest for a request; if all are being answered, it gets 503.
        shutdown_timeout_s: seconds that a handler has when the server stops.
    """

    def __init__(
        self,
        serve: _Serve,
        *,
        header_timeout_s: float = HEADER_TIMEOUT_S,
        keepalive_timeout_s: float = KEEPALIVE_TIMEOUT_S,
        max_connections: int = MAX_CONNECTIONS,
        shutdown_timeout_s: float = SHUTDOWN_TIMEOUT_S,
    ) -> None:
        super().__init__(
            serve,  # type: ignore[arg-type]  # it gets a `web.Request`
            # Without it, a disconnected client is noticed only at the next write.
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=0,  # aiohttp would set a timer for each connection
            max_field_size=MAX_HEAD_BYTES,  # tokens of identity providers can be long
        )
        self.serve = serve
        self.header_timeout_s = header_timeout_s
        self.keepalive_timeout_s = keepalive_timeout_s
        self._max_connections = max_connections
        self._shutdown_timeout_s = shutdown_timeout_s
        self._listening: list[asyncio.Server] = []
        self._has_files = True
        self.partial_heads_bytes = 0
        # The open connections; the one whose last request is newest comes last.
        self.open: OrderedDict[_Connection, None] = OrderedDict()
        shortest = min(header_timeout_s, keepalive_timeout_s)
        self.sweep = Sweep(self._end_overdue, min(shortest * PRECISION, 1.0))

    async def listen(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections from sockets, which are closed at the end."""
        for one in sockets:
            listening = await self._loop.create_server(self, sock=one, backlog=BACKLOG)
            self._listening.append(listening)

    def stop_listening(self) -> None:
        """Accept no more connections."""
        for listening in self._listening:
            listening.close()

    async def aclose(self) -> None:
        """Close everything; handlers get a moment to end."""
        self.stop_listening()
        await asyncio.sleep(0)  # requests that have arrived begin to be answered
        self.pre_shutdown()
        await self.shutdown(self._shutdown_timeout_s)

    @property
    def full(self) -> bool:
        """Whether there is no room for one more connection."""
        return len(self._connections) >= self._max_connections

    def make_room(self) -> bool:
        """Close the connection that has waited longest for a request; return whether one did.

        Otherwise connections that send nothing would keep everybody out.
        """
        for connection in list(islice(self.open, LOOKED_AT)):
            if connection.is_waiting:
                del self.open[connection]
                connection.force_close()
                return True
            self.open.move_to_end(connection)
        return False

    def _end_overdue(self) -> bool:
        self._look_for_files()
        now = self._loop.time()
        for connection in list(self.open):
            if connection.deadline <= now and connection.is_waiting:
                connection.give_up()
        return bool(self.open)

    def _look_for_files(self) -> None:
        """Report when the process begins to have no open files left, and when it has some again.

        The loop closes new connections then, or accepts none, without a word or with thousands.
        """
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
            has_files = True
        except OSError:
            has_files = False
        if has_files != self._has_files:
            self._has_files = has_files
            if has_files:
                _log.warning("files.available connections are accepted again")
            else:
                _log.error("files.used_up no connection is accepted: raise the limit (ulimit -n)")

    def __call__(self) -> web.RequestHandler:
        """Return a new connection."""
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    """A connection with limits on the time and the memory for each head.

    A head that starts while an answer is being written is timed from the first byte after it;
    without one, the idle limit applies.
    """

    __slots__ = ("_began", "_head_bytes", "_server", "deadline")

    def __init__(self, server: Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._messages = ShortQueue()  # type: ignore[assignment]
        self._head_bytes = 0
        self._began = False
        self.deadline = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a head, or refuse the connection."""
        server = self._server
        if server.full and not server.make_room():
            refused = cast(asyncio.Transport, transport)  # uvloop's own class is not a subclass
            refused.write(_TOO_MANY)
            refused.close()
            return
        self.deadline = self._loop.time() + server.header_timeout_s
        super().connection_made(transport)
        server.open[self] = None
        server.sweep.begin()

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a request, or for the rest of a head."""
        return self._waiter is not None and not self._waiter.done()

    async def start(self) -> None:
        """Answer one request after the other.

        aiohttp's own method makes a second task for each request, and keeps the bytes of its head
        and the buffer of its body until the answer has ended: 3 KB of each stream, and two turns
        of the loop for each request.
        """
        try:
            while not self._force_close and await self._answer_next():
                self.deadline = self._loop.time() + self._server.keepalive_timeout_s
        except ConnectionError:
            pass  # the client is gone, as the access log says
        except Exception:
            _log.exception("connection.failed")
        finally:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    async def _answer_next(self) -> bool:
        """Answer the next request; return whether the connection stays open."""
        if not self._messages:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        request = self._take_request()
        if request is None:
            return False
        self._current_request, self._request_in_progress = request, True
        try:
            response, is_gone = await self._server.serve(request), False
            if self._upgraded or not response.prepared:
                _, is_gone = await self.finish_response(request, response, None)
        finally:
            self._current_request, self._request_in_progress = None, False
            if self._handler_waiter is not None:
                self._handler_waiter.set_result(None)
        self._keepalive = bool(response.keep_alive)
        body = request.content
        if not body.is_eof():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGERING_S):
                    while not body.is_eof():
                        await body.readany()
        return self._keepalive and body.is_eof() and not (is_gone or self._close)

    def _take_request(self) -> web.Request | None:
        """Return the next request; `None` if it is malformed, and so the last one."""
        message, body = self._messages.pop(0)  # type: ignore[call-arg]  # a `ShortQueue`
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        self._began = False
        if self._head_bytes:
            self._count_head(-self._head_bytes)
        if self in self._server.open:
            self._server.open.move_to_end(self)
        if not isinstance(message, RawRequestMessage):
            error = type(message.exc).__name__
            _log.info("request.malformed remote=%s error=%s", self.peername, error)
            self._refuse(_refusal(message.exc))
            return None
        return web.Request(
            message._replace(raw_headers=()),
            body,
            self,
            StreamWriter(self, self._loop),
            None,  # type: ignore[arg-type]  # the task: it would be a reference cycle
            self._loop,
            client_max_size=MAX_BODY_BYTES,
        )

    def data_received(self, data: bytes) -> None:
        """Take bytes, and bound those of an incomplete head."""
        super().data_received(data)
        if not data or not self.is_waiting:
            return
        if not self._began:
            self._began = True
            if self._request_count:
                self.deadline = self._loop.time() + self._server.header_timeout_s
        self._count_head(len(data))
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(_TOO_LARGE)
        elif self._server.partial_heads_bytes > MAX_PARTIAL_HEADS_BYTES:
            self._refuse(_TOO_MANY)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._server.open.pop(self, None)
        self._count_head(-self._head_bytes)
        super().connection_lost(exc)

    def give_up(self) -> None:
        """Close the connection, which has waited too long."""
        if self._began:
            self._refuse(_TOO_SLOW)
        else:
            self.force_close()

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        self._server.partial_heads_bytes += size

    def _refuse(self, answer: bytes) -> None:
        if self.transport is not None:
            self.transport.write(answer)
        self.force_close()
