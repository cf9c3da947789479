"""Where a request comes from: the peer, or what trusted proxies say."""

from __future__ import annotations

import pytest
from aiohttp import HttpVersion10
from aiohttp.test_utils import make_mocked_request

from berlin.errors import ConfigurationError
from berlin.gateway.access.origin import (
    LOOPBACK,
    Proxies,
    host_name,
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


def request(peer: str, **headers: str):
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
    """`Forwarded` is read as its RFC says."""
    assert Proxies(LOOPBACK).client(request("127.0.0.1", Forwarded=header)) == client


def test_two_headers_that_differ() -> None:
    """A client that adds the header which its proxy does not write gains no address by it."""
    both = {"X_Forwarded_For": "203.0.113.5", "Forwarded": "for=203.0.113.5;proto=https"}
    assert Proxies(LOOPBACK).client(request("127.0.0.1", **both)) == "203.0.113.5"
    both["Forwarded"] = "for=198.51.100.7"
    assert Proxies(LOOPBACK).client(request("127.0.0.1", **both)) == "127.0.0.1"


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


OF_PROXIES = (
    "X-Forwarded-For X_Forwarded_For X-Forwarded X-Forwarded-Server Forwarded Forwarded-For Via "
    "HTTP-X-Forwarded-For X-Forward-For X-Original-Forwarded-For X-Real-IP X-Real-Port Real-IP "
    "X-Client-IP Client-IP X-Cluster-Client-IP WL-Proxy-Client-IP True-Client-IP X-Remote-IP "
    "X-Remote-Addr Remote-User X-Originating-IP X-ProxyUser-Ip X-Appengine-User-IP "
    "CF-Connecting-IP CF-Ray CDN-Loop Do-Connecting-Ip X-NF-Client-Connection-Ip Fly-Region "
    "Fastly-Client-IP Akamai-Origin-Hop CloudFront-Viewer-Address X-Amz-Cf-Id X-Amzn-Trace-Id "
    "X-Azure-SocketIP X-Envoy-Expected-Rq-Timeout-Ms X-Cloud-Trace-Context X-Vercel-Id X-Varnish "
    "X-Sucuri-ClientIP X-Nginx-Proxy X-Host X-Scheme X-Original-URL X-Rewrite-URL "
    "X-Request-Start Front-End-Https Proxy-Connection Proxy-Authorization Max-Forwards "
    "SSL-Client-Cert X-Auth-Request-User X-Goog-Authenticated-User-Email Tailscale-User-Login "
    "ngrok-skip-browser-warning"
)


@pytest.mark.parametrize("name", OF_PROXIES.split())
def test_forwarded_requests_are_not_local(name: str) -> None:
    """Behind a proxy on this machine every peer is this machine; its clients are not."""
    asked = make_mocked_request("GET", "/", headers={name: ""}, transport=Transport("127.0.0.1"))
    assert not is_local(asked)


def test_local_requests() -> None:
    """What programs and their traces send is no sign of a proxy."""
    told = {"traceparent": "00-1-1-01", "X_Stainless_OS": "Linux", "Origin": "http://localhost"}
    for peer in ("127.0.0.1", "::1"):
        assert is_local(request(peer, Host="localhost:11434", **told))
    assert is_local(request("127.0.0.1", Host="chat.example.com"))
    assert not is_local(request("10.0.0.1", Host="localhost"))


def test_a_browser_under_a_public_name() -> None:
    """It did not find that name on this machine, so there is a proxy between."""
    asked = request("127.0.0.1", Host="chat.example.com", Sec_Fetch_Site="none")
    assert not is_local(asked)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("chat.example.com", "chat.example.com"),
        ("Chat.Example.com:443", "chat.example.com"),
        ("[::1]:80", "::1"),
        ("localhost.", "localhost."),
        *[
            (wrong, "")
            for wrong in (
                *(
                    "",
                    ":80",
                    "a b",
                    "a, b",
                    "evil@localhost",
                    "user:pw@localhost",
                    "localhost/evil",
                ),
                *("localhost?x", "localhost#x", "localhost:x", "localhost:80:80", "[::1%25eth0]"),
                *("%6cocalhost", "evil\\localhost", "[localhost]", "\u24dbocalhost"),
            )
        ],
    ],
)
def test_names_in_host(given: str, name: str) -> None:
    """A host name, with or without a port, is its name; what parsers disagree about is none."""
    assert host_name(given) == name


def test_more_signs_of_a_proxy() -> None:
    """Any `X-Forwarded-…`, and HTTP/1.0, which nginx speaks where it adds no header at all."""
    assert not is_local(request("127.0.0.1", X_Forwarded_Server="a"))
    assert not is_local(request("127.0.0.1", x_forwarded="for"))
    old = make_mocked_request("GET", "/", version=HttpVersion10, transport=Transport("127.0.0.1"))
    assert not is_local(old)


def test_an_ipv6_client_is_its_network() -> None:
    """Whoever has one IPv6 address has 2**64 of them: they count as one."""
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2::9") == "2001:db8:1:2::/64"
    assert network_of("10.0.0.1") == network_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert network_of("odd") == "odd"


def test_a_proxy_that_is_no_address() -> None:
    """A name, or a network with bits to the right, is an error that names it."""
    for wrong in ("proxy.example", "10.0.0.1/8", ""):
        with pytest.raises(ConfigurationError, match="trusted_proxies"):
            Proxies([wrong])
