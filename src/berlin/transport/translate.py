"""Translates errors of the underlying libraries to Berlin's, here and nowhere else."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from urllib.parse import urlsplit

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
    UnavailableError,
    UpstreamTimeoutError,
)
from berlin.types import Endpoint, Secret, mask_url

_FILES_USED_UP = "Too many open files in this process; raise its limit (ulimit -n)"

LIBRARY_ERRORS: tuple[type[BaseException], ...] = (
    aiohttp.ClientError,
    HttpProcessingError,
    TimeoutError,
    OSError,
)


class LibraryError(Exception):
    """A library's message, as the chained cause of Berlin's error.

    The library's own exception is not kept: it holds the request's headers, and so a token.
    """


def translate(error: BaseException, endpoint: Endpoint) -> BerlinError:
    """Return Berlin's error for a library's, with a cause that holds no request.

    Raise it outside the `except` block: inside, the library's error would become its context.
    """
    ours = _translate(error, endpoint)
    ours.private = True
    ours.__cause__ = _clean(error)
    return ours


def _translate(error: BaseException, endpoint: Endpoint) -> BerlinError:
    host = mask_url(endpoint.url)
    proxy = mask_url(endpoint.proxy.reveal()) if endpoint.proxy else None
    match error:
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            return UnavailableError(f"no connection to {host}: {_FILES_USED_UP}", retry_after=1)
        case aiohttp.ClientHttpProxyError():
            return ProxyError(
                f"the proxy {proxy} answers {error.status}"
                + (": check its account and password" if error.status in (401, 403, 407) else ""),
                status=error.status,
            )
        case aiohttp.ClientProxyConnectionError():
            return ProxyError(f"the proxy {proxy} cannot be reached: {error.os_error}")
        case aiohttp.ClientConnectorError() if proxy and _is_host_of(error.host, endpoint.proxy):
            return ProxyError(f"the proxy {proxy} cannot be reached: {error.os_error}")
        case aiohttp.ClientError() | ssl.SSLError() if _answers_without_tls(error):
            plain = host.replace("https://", "http://", 1)
            return TLSError(f"{host} answers without TLS; if it speaks plain http, write {plain}")
        case aiohttp.ClientOSError() if isinstance(error.__cause__, ssl.SSLError):
            return TLSError(f"no secure connection to {host}: {_said(error)}")
        case aiohttp.ClientSSLError() | ssl.SSLError() | aiohttp.ServerFingerprintMismatch():
            return TLSError(f"no secure connection to {host}: {_said(error)}")
        case aiohttp.ConnectionTimeoutError():
            via = f" through {proxy}" if proxy else ""
            return UpstreamTimeoutError(f"connect: no connection to {host}{via} within the limit")
        case aiohttp.ClientConnectorError():
            return ConnectError(f"no connection to {host}: {_plainly(error.os_error)}")
        case TimeoutError():
            return UpstreamTimeoutError(f"{host} took too long")
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return ProtocolError(f"{host} does not answer in HTTP: {_said(error)}")
        case aiohttp.ServerDisconnectedError():
            return ConnectionLostError(f"{host} closed the connection without an answer")
        case aiohttp.ClientPayloadError():
            return ConnectionLostError(f"the answer of {host} broke off: {_said(error)}")
        case aiohttp.InvalidURL():
            return ConfigurationError(f"{host} is not a usable URL")
        case aiohttp.ClientError() | OSError():
            return ConnectionLostError(f"the connection to {host} broke: {_said(error)}")
        case _:  # python_socks has its own error tree, below Exception
            return ProxyError(f"the proxy {proxy} failed: {_said(error)}")


def _plainly(error: OSError) -> str:
    """Return why a connection failed, without the library's names and numbers."""
    if isinstance(error, socket.gaierror) or "getaddrinfo" in str(error):
        return "its name cannot be resolved"
    return os.strerror(error.errno) if error.errno else str(error)


def _answers_without_tls(error: BaseException) -> bool:
    """Return whether the reply to a TLS handshake was not TLS at all."""
    said = getattr(error, "os_error", None) or error.__cause__ or error
    return isinstance(said, ssl.SSLError) and said.reason in _NO_TLS


# The reasons used by OpenSSL 1.1, 3.0 and 3.2.
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL")


def _is_host_of(host: str, proxy: Secret | None) -> bool:
    return proxy is not None and urlsplit(proxy.reveal()).hostname == host


def _said(error: BaseException) -> str:
    # A response error also contains its URL, and a proxy's URL contains the password.
    text = error.message if isinstance(error, _WITH_URL) else str(error)
    return " ".join(text.split())[:200] or type(error).__name__


_WITH_URL = (aiohttp.ClientResponseError, HttpProcessingError)


def _clean(error: BaseException) -> BaseException:
    """Return a cause to chain that holds no request."""
    os_error = getattr(error, "os_error", None) or getattr(error, "certificate_error", None)
    if isinstance(os_error, OSError | ssl.CertificateError):
        os_error.__cause__ = os_error.__context__ = None
        return os_error.with_traceback(None)
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    return LibraryError(f"{name}: {_said(error)}")
