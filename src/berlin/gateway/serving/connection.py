"""Limits connections: their number, and the time and memory for request heads.

aiohttp bounds each line of a head and the requests that are queued on a connection, but allows a
head a megabyte and as much time as an idle connection, and accepts any number of connections. This
module uses two private names of its `RequestHandler` (3.14): `_waiter` is a future while the
connection waits for a request, and `_request_count` counts complete heads.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import islice
from typing import Any, cast

from aiohttp import web

from berlin.gateway.body import MAX_BODY_BYTES

HEADER_TIMEOUT_S = 20.0
KEEPALIVE_TIMEOUT_S = 75.0
MAX_CONNECTIONS = 5_000
LINGERING_S = 0.05
# Seconds after the error event for the last bytes to be sent.
SHUTDOWN_TIMEOUT_S = 1.0
# Bytes of incomplete heads: of one connection, and of all together.
MAX_HEAD_BYTES = 64 * 1024
MAX_PARTIAL_HEADS_BYTES = 32 * 1024 * 1024
# How many of the longest unused connections are looked at to make room for a new one.
LOOKED_AT = 64

_CLOSING = b"Server: berlin\r\nConnection: close\r\nContent-Length: 0\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\n" + _CLOSING + b"\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + _CLOSING + b"\r\n"
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\n" + _CLOSING + b"Retry-After: 2\r\n\r\n"

_log = logging.getLogger("berlin.gateway")


def open_runner(
    serve: Callable[[web.Request], Awaitable[web.StreamResponse]],
    *,
    header_timeout_s: float = HEADER_TIMEOUT_S,
    keepalive_timeout_s: float = KEEPALIVE_TIMEOUT_S,
    max_connections: int = MAX_CONNECTIONS,
    shutdown_timeout_s: float = SHUTDOWN_TIMEOUT_S,
) -> web.ServerRunner:
    """Return a runner with connection limits.

    Args:
        serve: answers a request.
        header_timeout_s: seconds from the start of a connection, or from the first byte of a later
            request, to the end of the request's head.
        keepalive_timeout_s: seconds that a connection may be idle between requests.
        max_connections: the most open connections. A further one takes the place of the one that
            has waited longest for a request; if all are being answered, it gets 503.
        shutdown_timeout_s: seconds that a handler has when the server stops.
    """
    server = _Server(serve, header_timeout_s, keepalive_timeout_s, max_connections)
    return web.ServerRunner(server, shutdown_timeout=shutdown_timeout_s)


class _Server(web.Server):
    """Makes limited connections."""

    def __init__(
        self,
        serve: Callable[[web.Request], Awaitable[web.StreamResponse]],
        header_timeout_s: float,
        keepalive_timeout_s: float,
        max_connections: int,
    ) -> None:
        super().__init__(
            serve,  # type: ignore[arg-type]  # it gets what the factory makes
            request_factory=partial(
                web.Request, loop=asyncio.get_running_loop(), client_max_size=MAX_BODY_BYTES
            ),
            # Without it, a disconnected client is noticed only at the next write.
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=keepalive_timeout_s,
            # An unwanted body is read only briefly, in the hope that its sender reads the answer.
            lingering_time=LINGERING_S,
        )
        self._header_timeout = header_timeout_s
        self._max_connections = max_connections
        self.partial_heads_bytes = 0
        # The open connections; the one whose last request is newest comes last.
        self.open: OrderedDict[_Connection, None] = OrderedDict()

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

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._header_timeout, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    """A connection with limits on the time and the memory for each head.

    A head that starts while an answer is being written is timed from the first byte after it;
    without one, the idle limit applies.
    """

    __slots__ = ("_began", "_head_bytes", "_head_timer", "_header_timeout", "_heads", "_server")

    def __init__(self, server: _Server, header_timeout_s: float, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._header_timeout = header_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None
        self._heads = 0
        self._head_bytes = 0
        self._began = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the timer of the first head, or refuse the connection."""
        if self._server.full and not self._server.make_room():
            refused = cast(asyncio.Transport, transport)  # uvloop's own class is not a subclass
            refused.write(_TOO_MANY)
            refused.close()
            return
        super().connection_made(transport)
        self._server.open[self] = None
        self._head_timer = self._loop.call_later(self._header_timeout, self._give_up)

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a request, or for the rest of a head."""
        return self._waiter is not None and not self._waiter.done()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and check whether a head has started or is complete."""
        super().data_received(data)
        if self._request_count != self._heads:
            self._heads = self._request_count
            self._began = False
            self._stop_timer()
            if self in self._server.open:
                self._server.open.move_to_end(self)
            if self._head_bytes:
                self._count_head(-self._head_bytes)
        elif data and self.is_waiting:
            self._began = True
            if self._head_timer is None:
                self._head_timer = self._loop.call_later(self._header_timeout, self._give_up)
            self._count_head(len(data))
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(_TOO_LARGE)
            elif self._server.partial_heads_bytes > MAX_PARTIAL_HEADS_BYTES:
                self._refuse(_TOO_MANY)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the timer of the head."""
        self._stop_timer()
        self._server.open.pop(self, None)
        self._count_head(-self._head_bytes)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP in one line, here and in the log; aiohttp shows a traceback."""
        if isinstance(exc, ConnectionError):
            raise exc  # the client is gone, as the access log says: aiohttp ignores it
        if status != 400 or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        _log.info("request.malformed remote=%s error=%s", request.remote, type(exc).__name__)
        response = web.Response(status=400, text="this is not a good HTTP request\n")
        response.headers["Server"] = "berlin"
        response.force_close()
        return response

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        self._server.partial_heads_bytes += size

    def _give_up(self) -> None:
        self._head_timer = None
        if self._began:
            self._refuse(_TOO_SLOW)
        else:
            self.force_close()

    def _refuse(self, answer: bytes) -> None:
        if self.transport is not None:
            self.transport.write(answer)
        self.force_close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
