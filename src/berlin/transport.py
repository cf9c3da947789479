"""The only HTTP client: sends a request, gives the answer's bytes as they come, and turns every
error of the libraries below into ours.

No redirect is followed, no cookie is kept, no proxy or `.netrc` of the environment is used, and
TLS is always verified.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import ssl
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from typing import Any

import aiohttp
from aiohttp.http import HttpProcessingError

from berlin.errors import (
    BerlinError,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    ProtocolError,
    ProxyError,
    TLSError,
    UpstreamTimeoutError,
)
from berlin.types import Endpoint, HttpRequest, HttpResponse, Secret, mask_url
from berlin.wire.inflate import ACCEPT_ENCODING, Inflater

MAX_WHOLE_BODY_BYTES = 4 * 1024 * 1024
READ_BUFFER_BYTES = 64 * 1024


class LibraryError(Exception):
    """What a library said, as the chained cause of our error.

    The library's own exception is not kept: it carries the request's headers, and so a token.
    """


class Transport:
    """Connections to one endpoint, kept alive between requests; one pool for each event loop.

    A pool ends with `aclose()`, with its loop (`asyncio.run` ends it in order), or when the
    transport is dropped.
    """

    def __init__(self, endpoint: Endpoint, user_agent: str) -> None:
        self._endpoint = endpoint
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": ACCEPT_ENCODING}
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}
        weakref.finalize(self, _drop_pools, self._pools)
        _TRANSPORTS.add(self)

    async def open(self, request: HttpRequest, connect_timeout: float) -> Response:
        """Send a request and return the answer once its headers are there; it must be closed.

        Args:
            request: what to send.
            connect_timeout: seconds for the name, TCP, TLS and the proxy.

        Raises:
            TransportError: if there is no answer.
            ProtocolError: if it is not HTTP.
        """
        session = await self._session()
        try:
            answer = await session.request(
                request.method,
                self._url(request.path),
                params=_reveal(request.query) or None,
                data=_payload(request.body),
                headers={**self._headers, **_reveal(request.headers)},
                proxy=self._http_proxy(),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=connect_timeout),
            )
        except _LIBRARY_ERRORS as error:
            raise self._translate(error) from _clean(error)
        try:
            return Response(answer, self._translate)
        except BaseException:
            answer.close()
            raise

    async def fetch(self, request: HttpRequest, connect_timeout: float) -> HttpResponse:
        """Send a request and return the whole answer, cut at `MAX_WHOLE_BODY_BYTES`."""
        response = await self.open(request, connect_timeout)
        try:
            return await response.whole()
        finally:
            response.close()

    async def aclose(self) -> None:
        """Close this loop's connections, and forget those of loops that are gone."""
        self._forget_closed_loops()
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.aclose()

    def after_fork(self) -> None:
        """Forget the parent's connections without touching them."""
        for pool in self._pools.values():
            # Closing would take the sockets out of the selector that is shared with the parent.
            connector = pool.session.connector
            pool.session.detach()
            if connector is not None:
                connector._closed = True
        self._pools.clear()

    async def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None or pool.session.closed:
            self._forget_closed_loops()
            # Nothing may be awaited between the look and the entry: two requests, one pool.
            pool = self._pools[loop] = _Pool(self._connector())
            await pool.bind_to_loop()
        return pool.session

    def _forget_closed_loops(self) -> None:
        for loop in [loop for loop in self._pools if loop.is_closed()]:
            _finish(self._pools.pop(loop).session.close())

    def _url(self, path: str) -> str:
        if "://" not in path:
            return self._endpoint.url + path
        # A token service with an address of its own: named by the recipe, never by an answer.
        return Endpoint.of(path, allow_http=self._endpoint.allow_http).url

    def _http_proxy(self) -> str | None:
        proxy = self._endpoint.proxy
        if proxy is None or not proxy.reveal().startswith("http"):
            return None
        return proxy.reveal()

    def _connector(self) -> aiohttp.BaseConnector:
        # No limit: how many requests run at once is for the layers above to say, and a pool
        # that waits counts as a slow connect.
        options: dict[str, Any] = {"limit": 0, "ssl": self._trust()}
        proxy = self._endpoint.proxy
        if proxy is None or proxy.reveal().startswith("http"):
            return aiohttp.TCPConnector(**options)
        try:
            from aiohttp_socks import ProxyConnector  # an extra
        except ImportError as error:
            raise ConfigurationError(
                "a SOCKS proxy needs one more package: pip install 'berlin-llm[socks]'"
            ) from error
        # The proxy resolves the name: an internal service's name is known there, not here.
        url = proxy.reveal().replace("socks5h://", "socks5://", 1)
        connector: aiohttp.BaseConnector = ProxyConnector.from_url(url, rdns=True, **options)
        return connector

    def _trust(self) -> ssl.SSLContext | bool:
        if self._endpoint.ca_file is None:
            return True
        try:
            return ssl.create_default_context(cafile=self._endpoint.ca_file)
        except OSError as error:
            raise ConfigurationError(
                f"ca_file {self._endpoint.ca_file} cannot be read as PEM certificates: {error}"
            ) from error

    def _translate(self, error: BaseException) -> BerlinError:
        """Return our error for one of the libraries'. Nothing else in Berlin knows theirs."""
        host = mask_url(self._endpoint.url)
        proxy = mask_url(self._endpoint.proxy.reveal()) if self._endpoint.proxy else None
        match error:
            case aiohttp.ClientHttpProxyError():
                return ProxyError(
                    f"the proxy {proxy} answers {error.status}: check its account and password",
                    status=error.status,
                )
            case aiohttp.ClientProxyConnectionError():
                return ProxyError(f"the proxy {proxy} cannot be reached: {error.os_error}")
            case aiohttp.ClientSSLError() | ssl.SSLError() | aiohttp.ServerFingerprintMismatch():
                return TLSError(f"no secure connection to {host}: {_said(error)}")
            case aiohttp.ConnectionTimeoutError():
                via = f" through {proxy}" if proxy else ""
                return UpstreamTimeoutError(f"connect: no connection to {host}{via} in time")
            case aiohttp.ClientConnectorError():
                return ConnectError(f"no connection to {host}: {error.os_error}")
            case TimeoutError():
                return UpstreamTimeoutError(f"{host} took too long")
            case aiohttp.ClientResponseError() | HttpProcessingError():
                return ProtocolError(f"{host} does not answer in HTTP: {error.message[:200]}")
            case aiohttp.ServerDisconnectedError():
                return ConnectionLostError(f"{host} closed the connection without an answer")
            case aiohttp.ClientPayloadError():
                return ConnectionLostError(f"the answer of {host} broke off: {_said(error)}")
            case aiohttp.InvalidURL():
                return ConfigurationError(f"{host} is not a URL that can be used")
            case aiohttp.ClientError() | OSError():
                return ConnectionLostError(f"the connection to {host} broke: {_said(error)}")
            case _:  # python_socks has a tree of its own, below Exception
                return ProxyError(f"the proxy {proxy} failed: {_said(error)}")


class Response:
    """An answer whose body has not been read yet.

    Attributes:
        status: the HTTP status.
        headers: names in lower case.
    """

    def __init__(
        self, answer: aiohttp.ClientResponse, translate: Callable[[BaseException], BerlinError]
    ) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.headers.items()}
        self._answer = answer
        self._translate = translate
        self._broken: BerlinError | None = None
        self._inflater = Inflater.of(self.headers.get("content-encoding", ""))
        self._protocol = answer.connection.protocol if answer.connection is not None else None
        self._closed = self._protocol.closed if self._protocol is not None else None
        if self._closed is not None:
            _retrieve_later(self._closed)
            self._closed.add_done_callback(self._note_closed)

    async def read(self) -> bytes:
        """Return the next bytes as soon as there are some; `b""` is the end.

        Raises:
            TransportError: if the connection breaks, also in the middle of the body.
            ProtocolError: if the body cannot be decompressed.
        """
        if self._inflater is None:
            return await self._read_raw()
        while True:
            if self._inflater.pending:
                # A small body can hold a huge one: others get their turn in between.
                await asyncio.sleep(0)
                data = self._inflater.more()
            else:
                raw = await self._read_raw()
                if not raw:
                    self._inflater.finish()
                    return b""
                data = self._inflater.feed(raw)
            if data:
                return data

    async def whole(self, limit: int = MAX_WHOLE_BODY_BYTES) -> HttpResponse:
        """Return the whole answer, its body cut at the limit."""
        parts: list[bytes] = []
        size = 0
        while size < limit and (data := await self.read()):
            parts.append(data)
            size += len(data)
        cookies = {name: cookie.value for name, cookie in self._answer.cookies.items()}
        return HttpResponse(self.status, self.headers, cookies, b"".join(parts)[:limit])

    def close(self) -> None:
        """Close the connection at once, or give it back if the answer was read to its end."""
        if self._closed is not None:
            self._closed.remove_done_callback(self._note_closed)
        self._answer.close()

    def _note_closed(self, _: asyncio.Future[None]) -> None:
        # When a body stops being HTTP after its first bytes (a bad chunk size), aiohttp closes the
        # connection and does not tell the body: whoever reads it would wait for its limit.
        content = self._answer.content
        if not content.is_eof() and content.exception() is None and self._protocol is not None:
            why = self._protocol.exception()
            content.set_exception(why or aiohttp.ClientPayloadError("the connection was closed"))

    async def _read_raw(self) -> bytes:
        if self._broken is not None:
            raise self._broken
        if self._closed is not None and self._closed.done():
            self._note_closed(self._closed)
        content = self._answer.content
        try:
            return await content.readany()
        except _LIBRARY_ERRORS as error:
            self._broken = self._translate(error)
            self._broken.__cause__ = _clean(error)
            # aiohttp tells of the break before it gives what came in before the break.
            held = content._read_nowait(-1)
            if held:
                return held
            raise self._broken from self._broken.__cause__


class _Pool:
    """The session of one loop, closed by the loop's own end if nobody closes it before."""

    def __init__(self, connector: aiohttp.BaseConnector) -> None:
        self.session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_BUFFER_BYTES,
        )
        self._keeper = _close_with_loop(self.session)

    async def bind_to_loop(self) -> None:
        await anext(self._keeper)

    async def aclose(self) -> None:
        await self._keeper.aclose()
        await self.session.close()


async def _close_with_loop(session: aiohttp.ClientSession) -> AsyncGenerator[None]:
    # A loop that is shut down in order closes the generators that were begun on it; this is
    # the only hook that it offers, and the reason why this is a generator.
    try:
        yield
    finally:
        await session.close()


def _retrieve_later(closed: asyncio.Future[None]) -> None:
    """See to it that a connection's error counts as seen; once, however many answers it gave."""
    closed.remove_done_callback(_retrieve)
    closed.add_done_callback(_retrieve)


def _retrieve(closed: asyncio.Future[None]) -> None:
    if not closed.cancelled():
        closed.exception()


def _drop_pools(pools: dict[asyncio.AbstractEventLoop, _Pool]) -> None:
    for loop, pool in list(pools.items()):
        if loop.is_running():
            loop.call_soon_threadsafe(_end_soon, pool)
        elif loop.is_closed():
            _finish(pool.session.close())
        else:
            # A loop between two `run_until_complete`: it can still close in order, unless
            # another loop runs in this thread.
            with contextlib.suppress(RuntimeError):
                loop.run_until_complete(pool.aclose())
    pools.clear()


def _end_soon(pool: _Pool) -> None:
    # A loop that ends cancels the task before it begins, and then closes the keeper itself,
    # unless that is gone by then: so the pool is kept until it is closed.
    for ended in [pool for pool, task in _ENDING.items() if pool.session.closed and task.done()]:
        del _ENDING[ended]
    _ENDING[pool] = asyncio.ensure_future(pool.aclose())


def _finish(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()


def _reveal(values: Mapping[str, str | Secret]) -> dict[str, str]:
    return {
        name: value.reveal() if isinstance(value, Secret) else value
        for name, value in values.items()
    }


def _payload(body: bytes) -> aiohttp.Payload | None:
    # Bytes of a megabyte and more would be written in one go, and block the loop.
    return aiohttp.BytesIOPayload(io.BytesIO(body)) if body else None


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _clean(error: BaseException) -> BaseException:
    """Return a cause to chain that holds no request."""
    os_error = getattr(error, "os_error", None) or getattr(error, "certificate_error", None)
    if isinstance(os_error, OSError | ssl.CertificateError):
        return os_error.with_traceback(None)
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    said = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return LibraryError(f"{name}: {said[:300]}")


def _socks_errors() -> tuple[type[Exception], ...]:
    try:
        from python_socks import ProxyConnectionError, ProxyTimeoutError
        from python_socks import ProxyError as SocksError
    except ImportError:
        return ()
    return (ProxyConnectionError, ProxyTimeoutError, SocksError)


_ENDING: dict[_Pool, asyncio.Task[None]] = {}  # a loop holds its tasks weakly

_LIBRARY_ERRORS: tuple[type[BaseException], ...] = (
    aiohttp.ClientError,
    HttpProcessingError,
    TimeoutError,
    OSError,
    *_socks_errors(),
)


_TRANSPORTS: weakref.WeakSet[Transport] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for transport in list(_TRANSPORTS):
        transport.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
