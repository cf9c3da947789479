"""Where a request comes from: the peer, or what trusted proxies say."""

from __future__ import annotations

import pytest
from aiohttp import HttpVersion10
from aiohttp.test_utils import make_mocked_request

from berlin.errors import ConfigurationError
from berlin.gateway.access.origin import (
    FORWARDING_HEADERS,
    LOOPBACK,
    Proxies,
    is_local,
    network_of,
)


class Transport:
    """A connection from an address."""

    def __init__(self, peer: str) -> None:
        self._peer = peer

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Return the peer's address."""
        return (self._peer, 1234) if name == "peername" else default


def request(peer: str, **headers: str):  # type: ignore[no-untyped-def]
    """Return a request from an address, with headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return make_mocked_request("GET", "/", headers=named, transport=Transport(peer))


FORWARDED = [
    ("203.0.113.5", "203.0.113.5"),
    ("1.2.3.4, 203.0.113.5", "203.0.113.5"),  # the left one is what the client wrote itself
    ("203.0.113.5, 127.0.0.1", "203.0.113.5"),  # another trusted proxy on the way
    ("203.0.113.5:4711", "203.0.113.5"),
    ("[2001:db8::1]:4711", "2001:db8::1"),
    ("2001:db8::1", "2001:db8::1"),
    ("::ffff:203.0.113.5", "203.0.113.5"),
    ("unknown", "127.0.0.1"),
    ("1.2.3.4, nonsense", "127.0.0.1"),
    ("", "127.0.0.1"),
    (",,,", "127.0.0.1"),
]


@pytest.mark.parametrize(("header", "client"), FORWARDED)
def test_trusted_proxy_names_the_client(header: str, client: str) -> None:
    """The rightmost address that is not a trusted proxy is the client."""
    asked = request("127.0.0.1", X_Forwarded_For=header)
    assert Proxies(LOOPBACK).client(asked) == client


@pytest.mark.parametrize(
    ("header", "client"),
    [
        ("for=203.0.113.5", "203.0.113.5"),
        ('for="[2001:db8::1]:4711";proto=https', "2001:db8::1"),
        ("for=1.2.3.4, for=203.0.113.5;by=10.0.0.1", "203.0.113.5"),
        ("For=203.0.113.5", "203.0.113.5"),
        ("for=_hidden", "127.0.0.1"),
        ("proto=https", "127.0.0.1"),
    ],
)
def test_forwarded_of_rfc_7239(header: str, client: str) -> None:
    """`Forwarded` is read as its RFC says, where there is no `X-Forwarded-For`."""
    assert Proxies(LOOPBACK).client(request("127.0.0.1", Forwarded=header)) == client


def test_nobody_else_is_believed() -> None:
    """Without trusted proxies, and from any other peer, the headers say nothing."""
    told = {"X_Forwarded_For": "203.0.113.5", "Forwarded": "for=203.0.113.5"}
    assert Proxies().client(request("127.0.0.1", **told)) == "127.0.0.1"
    assert Proxies(["10.0.0.0/8"]).client(request("11.0.0.1", **told)) == "11.0.0.1"
    assert Proxies(["10.0.0.0/8"]).client(request("10.0.0.1", **told)) == "203.0.113.5"


def test_a_million_hops_are_not_read() -> None:
    """Only so many hops are looked at, from the right."""
    asked = request("127.0.0.1", X_Forwarded_For="1.2.3.4," + "127.0.0.1," * 500 + "127.0.0.1")
    assert Proxies(LOOPBACK).client(asked) == "127.0.0.1"


@pytest.mark.parametrize("name", FORWARDING_HEADERS)
def test_forwarded_requests_are_not_local(name: str) -> None:
    """Behind a proxy on this machine every peer is this machine; its clients are not."""
    assert is_local(request("127.0.0.1"))
    assert is_local(request("::1"))
    assert not is_local(request("127.0.0.1", **{name.replace("-", "_"): ""}))
    assert not is_local(request("10.0.0.1"))


def test_more_signs_of_a_proxy() -> None:
    """Any `X-Forwarded-…`, and HTTP/1.0, which nginx speaks where it adds no header at all."""
    assert not is_local(request("127.0.0.1", X_Forwarded_Server="a"))
    assert not is_local(request("127.0.0.1", x_forwarded="for"))
    old = make_mocked_request("GET", "/", version=HttpVersion10, transport=Transport("127.0.0.1"))
    assert not is_local(old)


def test_an_ipv6_client_is_its_network() -> None:
    """Whoever has one IPv6 address has 2**64 of them: they count as one."""
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2::9") == "2001:db8:1:2::/64"
    assert network_of("10.0.0.1") == "10.0.0.1"
    assert network_of("odd") == "odd"


def test_a_proxy_that_is_no_address() -> None:
    """A name, or a network with bits to the right, is an error that names it."""
    for wrong in ("proxy.example", "10.0.0.1/8", ""):
        with pytest.raises(ConfigurationError, match="trusted_proxies"):
            Proxies([wrong])
