"""Sends one request on a connection of aiohttp's pool, and waits for the head of its answer.

The pool, its connections and their parser are aiohttp's; its session, request and response classes
are left out. For each request they prepare cookies, redirects, compression, traces and a timer that
Berlin does not use, which is a third of what a short stream costs on this side.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Mapping
from functools import lru_cache

import aiohttp
import msgspec
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection as Leased
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.http_writer import _serialize_headers
from aiohttp.streams import StreamReader
from multidict import CIMultiDict
from yarl import URL

from berlin.transport.pools import MAX_HEADER_BYTES, READ_BUFFER_BYTES
from berlin.types import HttpRequest, Secret

# A longer body is written in parts, so that the loop is not blocked, and its answer may come first.
PART_BYTES = 64 * 1024

# Interim responses (1xx) before the answer. Reading them is work that no limit of time bounds.
MAX_INTERIM = 100

_WITH_BODY = ("POST", "PUT", "PATCH")
_SWITCHING_PROTOCOLS = 101


class Exchange(msgspec.Struct, frozen=True):
    """A request that was sent, and the head of its answer.

    Attributes:
        head: status and headers.
        content: the body, as it arrives.
        leased: the connection, to be released or closed.
        protocol: what reads from it.
        writing: writes the rest of the request, if that takes long.
    """

    head: RawResponseMessage
    content: StreamReader
    leased: Leased
    protocol: ResponseHandler
    writing: asyncio.Task[None] | None


async def send(
    connector: aiohttp.BaseConnector,
    where: str | URL,
    request: HttpRequest,
    headers: CIMultiDict[str],
    proxy: str | None,
    connect_timeout: float,
) -> Exchange:
    """Send a request.

    While it waits, no variable here has a token or a password: error reporters show them.

    Args:
        where: its URL, without the request's own query.
        headers: those of every request; the request's own replace them.

    Raises:
        ValueError: if a header or the URL cannot be written; nothing was sent.
        aiohttp.ClientConnectionResetError: if the connection was closed before anything was sent.
        Exception: any of the library's errors.
    """
    url, key = _target(where)
    leased, protocol, authorization = await _connect(connector, url, key, proxy, connect_timeout)
    writing = None
    try:
        protocol.set_response_params(
            skip_payload=request.method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=READ_BUFFER_BYTES,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )
        is_forwarded = proxy is not None and url.scheme == "http"
        writing = _write(protocol, url, request, headers, authorization, is_forwarded)
        authorization = None
        return Exchange(*await _answer(protocol), leased, protocol, writing)
    except BaseException:
        if writing is not None:
            writing.cancel()
        leased.close()
        raise


async def _answer(protocol: ResponseHandler) -> tuple[RawResponseMessage, StreamReader]:
    """Return the head and the body of the answer, after the interim responses (1xx)."""
    for _ in range(MAX_INTERIM):
        head, body = await protocol.read()
        if not 100 <= head.code < 200 or head.code == _SWITCHING_PROTOCOLS:
            return head, body
    raise BadHttpMessage(f"more than {MAX_INTERIM} interim responses")


def _write(
    protocol: ResponseHandler,
    url: URL,
    request: HttpRequest,
    headers: CIMultiDict[str],
    authorization: str | None,
    is_forwarded: bool,
) -> asyncio.Task[None] | None:
    """Write a request; return what writes the rest of its body, if that takes long."""
    if request.query:
        url = url.extend_query(reveal(request.query))
    lines: CIMultiDict[str] = CIMultiDict(Host=url.host_port_subcomponent or "")
    lines.update(headers)
    add_headers(lines, request)
    if is_forwarded and authorization:
        lines["Proxy-Authorization"] = authorization
    body = request.body
    if body or request.method in _WITH_BODY:
        lines["Content-Length"] = str(len(body))
    target = str(url.with_fragment(None)) if is_forwarded else url.raw_path_qs
    head = _serialize_headers(f"{request.method} {target} HTTP/1.1", lines)
    if len(body) <= PART_BYTES:
        _put(protocol, head + body)
        return None
    _put(protocol, head)
    return asyncio.create_task(_put_all(protocol, body))


def add_headers(lines: CIMultiDict[str], request: HttpRequest) -> None:
    """Add the headers of a request; they replace others, in whatever case they are."""
    for name, value in request.headers.items():
        lines[name] = value.reveal() if isinstance(value, Secret) else value


def reveal(values: Mapping[str, str | Secret]) -> dict[str, str]:
    """Return values as they are sent."""
    return {
        name: value.reveal() if isinstance(value, Secret) else value
        for name, value in values.items()
    }


async def _connect(
    connector: aiohttp.BaseConnector,
    url: URL,
    key: ConnectionKey,
    proxy: str | None,
    timeout: float,
) -> tuple[Leased, ResponseHandler, str | None]:
    """Return a connection, its protocol, and the header that authenticates at the proxy."""
    while True:
        leased = await connector._get(key, []) if proxy is None else None
        authorization = None
        if leased is None:
            request = aiohttp.ClientRequest(
                "GET",
                url,
                proxy=URL(proxy) if proxy is not None else None,
                loop=asyncio.get_running_loop(),
            )
            try:
                leased = await connector.connect(request, [], _limits(timeout))
            except TimeoutError as error:
                raise aiohttp.ConnectionTimeoutError(f"no connection to {url.host}") from error
            authorization = request.headers.get("Proxy-Authorization")
        protocol = leased.protocol
        if protocol is not None and not _has_ended(protocol):
            return leased, protocol, authorization
        leased.close()


@lru_cache
def _target(where: str | URL) -> tuple[URL, ConnectionKey]:
    """Return a URL, and the name of its origin's connections in the pool."""
    try:
        url = URL(where)
    except ValueError as error:
        raise aiohttp.InvalidURL(where) from error
    if not url.raw_host:
        raise aiohttp.InvalidURL(where)
    is_tls = url.scheme == "https"
    return url, ConnectionKey(url.raw_host, url.port, is_tls, True, None, None, None)


@lru_cache
def _limits(connect_timeout: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect_timeout)


def _has_ended(protocol: ResponseHandler) -> bool:
    """Return whether the service has closed a kept connection, but the loop did not notice yet.

    Services do that silently, such as llama.cpp after each stream. Then there is something to read,
    the end, although nothing was asked.
    """
    if protocol.transport is None:
        return True
    if protocol._parser is None:  # no request was sent on it yet
        return False
    file = protocol.transport.get_extra_info("socket").fileno()
    if file < 0:  # closed; `connection_lost` has not been called yet
        return True
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([file], [], [], 0)[0])
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(0))


def _put(protocol: ResponseHandler, data: bytes) -> None:
    if protocol.transport is None or protocol.transport.is_closing():
        raise aiohttp.ClientConnectionResetError("the connection is closed")
    protocol.transport.write(data)


async def _put_all(protocol: ResponseHandler, body: bytes) -> None:
    try:
        for start in range(0, len(body), PART_BYTES):
            await protocol._drain_helper()
            _put(protocol, body[start : start + PART_BYTES])
    except ConnectionError:
        pass  # the reader of the answer sees that the connection is lost
