"""The only HTTP client: sends a request and returns the response's bytes as they arrive.

It follows no redirects, keeps no cookies, ignores proxies and `.netrc` of the environment, and
always verifies TLS.
"""

from __future__ import annotations

import re
import ssl
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.client import IDEMPOTENT_METHODS
from multidict import CIMultiDict
from yarl import URL

from berlin.errors import BerlinError, ConfigurationError, InvalidRequestError
from berlin.transport.exchange import Exchange, add_headers, reveal, send
from berlin.transport.pools import Pools
from berlin.transport.response import Response
from berlin.transport.sender import Answer
from berlin.transport.socket import LIMITS, RefusedSocket, SocketAnswer, refuse_redirects
from berlin.transport.translate import LIBRARY_ERRORS, translate
from berlin.types import Endpoint, HttpRequest, is_metadata_service
from berlin.types.socket import SocketDialog
from berlin.wire.framings.contract import MAX_DOCUMENT_BYTES
from berlin.wire.inflate import ACCEPT_ENCODING


class Transport:
    """Connections to one endpoint, kept alive between requests; one pool for each event loop.

    Args:
        endpoint: the endpoint and its proxy.
        user_agent: the value of the `User-Agent` header.
    """

    def __init__(self, endpoint: Endpoint, user_agent: str) -> None:
        self._endpoint = endpoint
        self._headers = CIMultiDict(
            {"Accept": "*/*", "User-Agent": user_agent, "Accept-Encoding": ACCEPT_ENCODING}
        )
        for name, value in endpoint.headers:
            self._headers[name] = value
        self._pools = Pools()
        self._sockets: Pools | None = None
        self._metadata: Pools | None = None
        self._errors = LIBRARY_ERRORS

    async def open(self, request: HttpRequest, connect_timeout: float) -> Answer:
        """Send a request and return the response once its headers have arrived; it must be closed.

        Args:
            request: what to send.
            connect_timeout: seconds for DNS, TCP, TLS and the proxy.

        Raises:
            TransportError: if there is no answer.
            ProtocolError: if it is not HTTP.
            InvalidRequestError: if it cannot be sent over HTTP; nothing was sent.
        """
        if request.socket is not None:
            return await self._open_socket(request, request.socket())
        for last in (False, True):
            try:
                exchange = await self._send(request, connect_timeout)
            except self._errors as error:
                if not last and _may_be_repeated(request, error):
                    continue
                failure: BerlinError = translate(error, self._endpoint)
                break
            except ValueError:
                # aiohttp refused to write it. Its message may contain the value, such as a token.
                failure = InvalidRequestError(
                    "a header or the URL would contain characters that HTTP cannot carry; nothing "
                    "was sent"
                )
                break
            try:
                return Response.of(exchange, self._endpoint)
            except BaseException:
                exchange.leased.close()
                raise
        # Raised outside the `except`: the library's error holds the token; it must not be chained.
        raise failure

    async def _send(self, request: HttpRequest, connect_timeout: float) -> Exchange:
        pools, connect, proxy = self._pools, self._connector, self._http_proxy()
        if self._endpoint.proxy is not None and _is_metadata_url(request):
            # The proxy would ask the metadata service of its own machine.
            self._metadata = self._metadata or Pools()
            pools, connect, proxy = self._metadata, aiohttp.TCPConnector, None
        return await send(
            (await pools.of_loop(connect)).connector,
            self._url(request),
            request,
            self._headers,
            proxy,
            connect_timeout,
        )

    async def _open_socket(self, request: HttpRequest, dialog: SocketDialog) -> Answer:
        if self._sockets is None:
            self._sockets = Pools((refuse_redirects,))
        try:
            pool = await self._sockets.of_loop(self._connector)
            headers = self._headers.copy()
            add_headers(headers, request)
            socket = await pool.session.ws_connect(
                self._url(request),
                params=reveal(request.query) or None,
                headers=headers,
                protocols=dialog.subprotocols,
                proxy=self._http_proxy(),
                timeout=LIMITS,
                max_msg_size=MAX_DOCUMENT_BYTES,
                autoping=False,  # it answers all that arrived together in one turn of the loop
            )
        except aiohttp.WSServerHandshakeError as error:
            if error.status != 101:
                return RefusedSocket(error)
            failure = translate(error, self._endpoint)
        except self._errors as error:
            failure = translate(error, self._endpoint)
        else:
            answer = SocketAnswer(socket, dialog, self._endpoint)
            try:
                await answer.begin()
            except BaseException:
                answer.close()
                raise
            return answer
        raise failure

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        for pools in (self._pools, self._sockets, self._metadata):
            if pools is not None:
                await pools.aclose()

    def _url(self, request: HttpRequest) -> str | URL:
        path = request.path
        if request.is_found:
            # Exactly as given: re-quoting would break a signed URL.
            return URL(self._endpoint.resolve(path), encoded=True)
        if "://" not in path:
            url = self._endpoint.url + path
            return URL(url, encoded=True) if "%" in path and _WRITTEN_OUT.fullmatch(path) else url
        # A token service at a different address: named by the recipe, never by a response.
        Endpoint.of(path, allow_http=self._endpoint.allow_http or _is_metadata_url(request))
        return path

    def _http_proxy(self) -> str | None:
        proxy = self._endpoint.proxy
        if proxy is None or not proxy.reveal().startswith("http"):
            return None
        return proxy.reveal()

    def _connector(self) -> aiohttp.BaseConnector:
        # No limit: concurrency is controlled by the layers above, and a pool
        # that waits would count as a slow connect.
        options: dict[str, Any] = {"limit": 0, "ssl": self._trust()}
        proxy = self._endpoint.proxy
        if proxy is None or proxy.reveal().startswith("http"):
            return aiohttp.TCPConnector(**options)
        try:
            from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyTimeoutError
            from aiohttp_socks import ProxyError as SocksError
        except ImportError as error:
            raise ConfigurationError(
                "a SOCKS proxy needs one more package: pip install 'berlin-llm[socks]'"
            ) from error
        self._errors = (*LIBRARY_ERRORS, ProxyConnectionError, ProxyTimeoutError, SocksError)
        # The proxy resolves the name: an internal service's name is known there, not here.
        url = proxy.reveal().replace("socks5h://", "socks5://", 1)
        connector: aiohttp.BaseConnector = ProxyConnector.from_url(url, rdns=True, **options)
        return connector

    def _trust(self) -> ssl.SSLContext | bool:
        endpoint = self._endpoint
        if endpoint.ca_file is None and endpoint.client_cert is None:
            return True
        try:
            context = ssl.create_default_context(cafile=endpoint.ca_file)
        except OSError as error:
            raise ConfigurationError(
                f"ca_file {endpoint.ca_file} cannot be read as PEM certificates: {error}"
            ) from error
        if endpoint.client_cert is not None:
            try:
                # Without a password: there is nobody to prompt for one.
                context.load_cert_chain(endpoint.client_cert, endpoint.client_key, password="")
            except OSError as error:
                raise ConfigurationError(
                    f"client_cert {endpoint.client_cert} and its key cannot be read as PEM, or "
                    f"need a password: {error}"
                ) from error
        return context


# Characters allowed unquoted in a URL (RFC 3986).
_WRITTEN_OUT = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*+")


def _is_metadata_url(request: HttpRequest) -> bool:
    return "://" in request.path and is_metadata_service(urlsplit(request.path).hostname or "")


def _may_be_repeated(request: HttpRequest, error: BaseException) -> bool:
    """Return whether a request that failed may be sent again immediately.

    It may if nothing was sent, or if it changes nothing and a kept connection was closed meanwhile.
    """
    if isinstance(error, aiohttp.ClientConnectionResetError):
        return True
    was_lost = isinstance(error, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError)
    is_safe = request.method in IDEMPOTENT_METHODS
    return is_safe and was_lost and not isinstance(error, aiohttp.ClientConnectorError)
