"""The endpoint of a service: its base URL, proxy and TLS settings."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

import msgspec

from berlin.errors import ConfigurationError, ProtocolError
from berlin.types.secret import Secret

PROXY_SCHEMES = ("http", "https", "socks5", "socks5h", "socks4")


class Endpoint(msgspec.Struct, frozen=True):
    """The endpoint of one service.

    Attributes:
        url: the base URL, without a slash at its end.
        proxy: URL of the proxy, with its credentials; `None` connects directly.
        ca_file: PEM file with the certificates to trust instead of the system's.
        allow_http: whether credentials may go over plain http to another machine.
        headers: headers added to every request.
        client_cert: PEM file with the client certificate (and its key).
        client_key: PEM file with its key, if in a separate file.
        hosts: other hosts that a URL in an answer may name; `*.example.com` is any below it.
    """

    url: str
    proxy: Secret | None = None
    ca_file: str | None = None
    allow_http: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    client_cert: str | None = None
    client_key: str | None = None
    hosts: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        url: str,
        *,
        proxy: str | Secret | None = None,
        ca_file: str | None = None,
        allow_http: bool = False,
        headers: Mapping[str, str] | None = None,
        client_cert: str | None = None,
        client_key: str | None = None,
        hosts: Iterable[str] = (),
        origin: bool = False,
    ) -> Endpoint:
        """Return a checked endpoint.

        Args:
            origin: whether requests carry the headers `Origin` and `Referer` of a browser; the
                others are the attributes.

        Raises:
            ConfigurationError: if the URL, the proxy or a header cannot be used, or credentials
                would be sent unencrypted.
        """
        parts = split_url(url, "url", ("http", "https"))
        if parts.username is not None or parts.password is not None:
            raise ConfigurationError("url must not contain an account or password; give them apart")
        if parts.query or parts.fragment:
            raise ConfigurationError("url must be a base URL, without '?' and '#'")
        host = parts.hostname or ""
        if parts.scheme == "http" and not allow_http and not is_loopback(host):
            raise ConfigurationError(
                f"{url} is plain http: account, password and prompts could be read on the way. "
                "Use https, or set allow_http = true (BERLIN_ALLOW_HTTP=1) if you trust the network"
            )
        revealed = proxy.reveal() if isinstance(proxy, Secret) else proxy
        if revealed is not None:
            split_url(revealed, "proxy", PROXY_SCHEMES)
        secret = Secret(revealed) if revealed is not None else None
        here = f"{parts.scheme}://{parts.netloc}"
        own = {"Origin": here, "Referer": f"{here}/"} if origin else {}
        given = {**own, **(headers or {})}
        checked = tuple(_check_header(*header) for header in given.items())
        if client_key is not None and client_cert is None:
            raise ConfigurationError("client_key without client_cert: give the certificate too")
        named = tuple(_check_host(host) for host in hosts)
        return cls(
            url.rstrip("/"), secret, ca_file, allow_http, checked, client_cert, client_key, named
        )

    def resolve(self, found: str) -> str:
        """Return the absolute URL for one in a response of the service.

        Raises:
            ProtocolError: if it leads to another origin that is not a listed host.
        """
        base = urlsplit(self.url)
        if found.startswith("//"):
            url = f"{base.scheme}:{found}"
        elif found.startswith("/"):
            url = f"{base.scheme}://{base.netloc}{found}"
        else:
            url = found if _SCHEME.match(found) else f"{self.url}/{found}"
        try:
            parts = split_url(url.partition("#")[0], "a URL in the answer", ("http", "https"))
        except ConfigurationError as error:
            raise ProtocolError(error.message) from None
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        ours = (base.scheme, base.hostname, base.port or _PORTS[base.scheme])
        is_listed = parts.scheme == "https" and any(_covers(name, host) for name in self.hosts)
        if parts.username is not None or not ((parts.scheme, host, port) == ours or is_listed):
            raise ProtocolError(
                f"the service's answer names a URL of another host, {host[:80]!r}; nothing was "
                "sent there. If that is right, list it as `hosts` in the recipe's [endpoint]"
            )
        return parts.geturl()


_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?:\*\.)?(?:[a-z0-9-]+\.)+[a-z0-9-]+")


def _check_host(host: str) -> str:
    if not _HOST.fullmatch(host) or (host.startswith("*.") and host.count(".") < 2):
        raise ConfigurationError(
            f"hosts: {host[:80]!r} is not the name of a host, such as api.example.com or "
            "*.example.com"
        )
    return host


def _covers(name: str, host: str) -> bool:
    return host.endswith(name[1:]) if name.startswith("*.") else host == name


def _check_header(name: str, value: str) -> tuple[str, str]:
    if not _HEADER_NAME.fullmatch(name) or not value.isascii() or not value.isprintable():
        raise ConfigurationError(f"the header {name!r} cannot be sent: no line breaks, ASCII only")
    if name.lower() in _OF_HTTP:
        raise ConfigurationError(f"the header {name} belongs to HTTP itself; leave it out")
    return name, value


_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_OF_HTTP = frozenset({"host", "content-length", "transfer-encoding", "connection"})


@lru_cache
def is_loopback(host: str) -> bool:
    """Return whether a host name means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# The addresses at which clouds offer a machine its own identity. They are answered by the platform
# beneath the machine, and never leave it.
_METADATA = frozenset(
    {"169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23"}
)


def is_metadata_service(host: str) -> bool:
    """Return whether a host is the metadata service of a cloud's machine, by address.

    Not by name: a name may be resolved to anything.
    """
    return host in _METADATA


def mask_url(url: str) -> str:
    """Return a URL without the account and password in it."""
    head, at, tail = url.rpartition("@")
    if not at:
        return url
    scheme, separator, _ = head.partition("://")
    return f"{scheme}://***@{tail}" if separator else f"***@{tail}"


def split_url(url: object, name: str, schemes: tuple[str, ...]) -> SplitResult:
    """Return the parts of a URL that every parser understands in the same way.

    Args:
        name: what it is, for the error.

    Raises:
        ConfigurationError: if it is another scheme, has no host, or is no such URL.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"{name} must be text, not {type(url).__name__}")
    shown = mask_url(url)[:200]
    # Characters that URL parsers treat differently could lead to a host other than the checked one.
    if not url.isascii() or any(c <= " " or c in '\\"<>^`{|}\x7f' for c in url):
        raise ConfigurationError(f"{name} has characters that a URL cannot contain: {shown!r}")
    try:
        parts = urlsplit(url)
        port_ok = parts.port != 0
    except ValueError as error:
        raise ConfigurationError(f"{name} is not a URL: {shown!r} ({error})") from None
    if parts.scheme not in schemes or not parts.hostname or not port_ok:
        raise ConfigurationError(
            f"{name} must be {' or '.join(f'{s}://' for s in schemes)} with a host, not {shown!r}"
        )
    return parts
