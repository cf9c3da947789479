"""Finds the address a request comes from, also behind reverse proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from aiohttp import HttpVersion11, web

from berlin.errors import ConfigurationError
from berlin.types import is_loopback

LOOPBACK = ("127.0.0.0/8", "::1")

# Any of these headers means that the request was forwarded, and so does any `X-Forwarded-…`.
FORWARDING_HEADERS = (
    "X-Forwarded-For",
    "Forwarded",
    "Forwarded-For",
    "Via",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Original-Forwarded-For",
    "X-Original-Host",
    "X-Original-URL",
    "X-Envoy-External-Address",
    "X-Azure-ClientIP",
    "X-Amzn-Trace-Id",
    "X-Cloud-Trace-Context",
    "True-Client-IP",
    "CDN-Loop",
    "CF-Connecting-IP",
    "CF-Ray",
    "Fastly-Client-IP",
    "Fly-Client-IP",
    "Tailscale-User-Login",
)
MAX_HOPS = 32

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxies:
    """The reverse proxies trusted to report the client's address.

    Args:
        trusted: their addresses or networks.

    Raises:
        ConfigurationError: if one is neither.
    """

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted = tuple(map(_network, trusted))

    def client(self, request: web.BaseRequest) -> str:
        """Return the address of the client: the nearest one that is not a trusted proxy.

        `X-Forwarded-For` and, without it, `Forwarded` (RFC 7239) are read from the right, and only
        as far as they were written by a trusted proxy. Anybody can forge the part to the left.
        """
        peer = request.remote or ""
        if not self._trusted or not self._trusts(peer):
            return peer
        client = peer
        for hop in _hops(request):
            address = _address(hop)
            if address is None:  # hidden (`unknown`, `_name`), or not an address
                break
            client = str(address)
            if not self._trusts(client):
                break
        return client

    def _trusts(self, address: str) -> bool:
        found = _address(address)
        return found is not None and any(found in network for network in self._trusted)


def is_local(request: web.BaseRequest) -> bool:
    """Return whether a request comes from a program on this machine.

    Behind a reverse proxy on this machine every peer is this machine, but its clients are not. A
    proxy shows itself by a header, or by HTTP/1.0, which nginx speaks to the servers behind it
    unless it is told otherwise, even where it adds no header.
    """
    if not is_loopback(request.remote or "") or request.version < HttpVersion11:
        return False
    headers = request.headers
    return not (
        any(name in headers for name in FORWARDING_HEADERS)
        or any(name.lower().startswith("x-forwarded") for name in headers)
    )


def network_of(address: str) -> str:
    """Return the network that one client can fully control: an IPv4 address, or an IPv6 /64."""
    found = _address(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
    return address


def _hops(request: web.BaseRequest) -> Iterator[str]:
    """Yield the addresses reported by the proxies, the nearest one first."""
    given = request.headers.getall("X-Forwarded-For", [])
    if given:
        for hop in reversed(",".join(given).split(",")[-MAX_HOPS:]):
            yield hop.strip()
        return
    for element in reversed(
        ",".join(request.headers.getall("Forwarded", [])).split(",")[-MAX_HOPS:]
    ):
        for pair in element.split(";"):
            name, _, value = pair.strip().partition("=")
            if name.lower() == "for":
                yield value.strip().strip('"')


def _address(text: str) -> _Address | None:
    if text.startswith("["):  # [IPv6], with or without a port
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # IPv4 and a port
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _network(text: str) -> _Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ConfigurationError(
            f"[server] trusted_proxies: {text!r} is neither an address nor a network such as "
            "10.0.0.0/8"
        ) from None
