"""Finds the address a request comes from, also behind reverse proxies."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from aiohttp import HttpVersion11

from berlin.errors import ConfigurationError
from berlin.gateway import web
from berlin.types import is_loopback

LOOPBACK = ("127.0.0.0/8", "::1")

# A header with such a name means that the request was forwarded: proxies, their services and what
# authenticates for them add their own.
_OF_PROXIES = re.compile(
    r"forward|proxy|client-?ip|real-(ip|port)|remote-(ip|addr|user)|originating-ip"
    r"|connect(ing|ion)-ip|ssl-client|authenticated|auth-request|webauth|-user-ip|^via$"
    r"|^(cf|cdn|fly|akamai|cloudfront|fastly|ngrok|tailscale|true-client|front-end|max)-"
    r"|^x-(amzn?|azure|akamai|appengine|cloud|envoy|fastly|goog-iap|nf|nginx|original|rewrite"
    r"|request-start|scheme|url-scheme|host|sucuri|varnish|vercel)\b"
)
# A browser that uses the gateway's public name did not find it on this machine.
_OF_BROWSERS = ("Sec-Fetch-Site", "Sec-Fetch-Mode", "Origin", "Upgrade-Insecure-Requests")
MAX_HOPS = 32
# Each connection of the machine, with the user whose program holds that end: proc(5).
_SOCKETS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))

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

        `X-Forwarded-For` and `Forwarded` (RFC 7239) are read from the right, and only as far as
        they were written by a trusted proxy. Anybody can forge the part to the left. If there are
        both and they differ, one of them is the client's own, and neither is believed.
        """
        peer = request.remote or ""
        if not self._trusted or not self._trusts(peer):
            return peer
        named = {self._nearest(peer, hops) for hops in _hops(request)}
        return named.pop() if len(named) == 1 else peer

    def _nearest(self, peer: str, hops: Iterable[str]) -> str:
        client = peer
        for hop in hops:
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
    unless it is configured otherwise, even where it adds no header. One that forwards bytes as they
    are shows itself by its user, unless that is the gateway's own.
    """
    if not is_loopback(request.remote or "") or request.version < HttpVersion11:
        return False
    headers = request.headers
    if _names_proxy(tuple(headers)):
        return False
    if is_loopback(asked_host(request)):
        return True
    return not any(name in headers for name in _OF_BROWSERS) and _is_of_own_user(request)


@lru_cache(maxsize=512)
def _names_proxy(names: tuple[str, ...]) -> bool:
    """Return whether a header with one of these names was added by a proxy."""
    return any(_OF_PROXIES.search(name.lower().replace("_", "-")) for name in names)


def _is_of_own_user(request: web.BaseRequest) -> bool:
    """Return whether the program at the other end runs as the gateway's user; `True` if unknown."""
    if request.transport is None:
        return True
    ends = map(request.transport.get_extra_info, ("peername", "sockname"))
    ports = [f"{end[1]:04X}" for end in ends if isinstance(end, tuple)]
    for table in _SOCKETS:
        with suppress(OSError):  # elsewhere than on Linux
            for line in table.read_text("ascii").splitlines()[1:]:
                fields = line.split()
                if [end.rpartition(":")[2] for end in fields[1:3]] == ports:
                    return int(fields[7]) == os.getuid()
    return True


def asked_host(request: web.BaseRequest) -> str:
    """Return the name of the host that a request is for; `""` if it names none.

    A whole URL as the target counts instead of `Host` (RFC 9112, 3.2.2).
    """
    target = request.raw_path
    if target.startswith("/") or "://" not in target:
        return host_name(request.headers.get("Host", ""))
    return host_name(target.partition("://")[2].partition("/")[0].partition("?")[0])


@lru_cache
def host_name(netloc: str) -> str:
    """Return the name of a host without its port; `""` if it is not what RFC 9110 allows."""
    found = _HOST.fullmatch(netloc.strip())
    return (found[1] or found[2]).lower() if found else ""


_HOST = re.compile(
    r"(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9._-]{1,253}))(?::[0-9]{1,5})?", re.IGNORECASE
)


def network_of(address: str) -> str:
    """Return the network that one client can fully control: an IPv4 address, or an IPv6 /64."""
    found = _address(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
    return address if found is None else str(found)


def _hops(request: web.BaseRequest) -> Iterator[list[str]]:
    """Yield the addresses in each header that reports them, the nearest one first."""
    given = [hop.strip() for hop in _last(request, "X-Forwarded-For")]
    if given:
        yield given
    pairs = [
        pair.strip().partition("=")
        for element in _last(request, "Forwarded")
        for pair in element.split(";")
    ]
    if pairs:
        yield [value.strip().strip('"') for name, _, value in pairs if name.lower() == "for"]


def _last(request: web.BaseRequest, header: str) -> list[str]:
    """Return the last elements of a header, the last one first."""
    given = request.headers.getall(header, [])
    return ",".join(given).split(",")[: -MAX_HOPS - 1 : -1] if given else []


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
