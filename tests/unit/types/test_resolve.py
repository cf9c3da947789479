"""URLs that an answer of a service names: only to where the recipe allows."""

from __future__ import annotations

import pytest

from berlin.errors import ConfigurationError, ProtocolError
from berlin.types import Endpoint

BASE = Endpoint.of("https://chat.example.com/api", hosts=["*.files.example.com", "b.example.org"])


@pytest.mark.parametrize(
    ("found", "url"),
    [
        ("/x/1?a=b#c", "https://chat.example.com/x/1?a=b"),
        ("x/1", "https://chat.example.com/api/x/1"),
        ("https://chat.example.com:443/x", "https://chat.example.com:443/x"),
        ("https://eu.files.example.com/x", "https://eu.files.example.com/x"),
        ("https://b.example.org/", "https://b.example.org/"),
        ("//chat.example.com/x", "https://chat.example.com/x"),
    ],
)
def test_urls_of_the_service(found: str, url: str) -> None:
    """A path, a URL of the same origin, or one of a listed host is followed."""
    assert BASE.resolve(found) == url


@pytest.mark.parametrize(
    "found",
    [
        "https://evil.example.com/",
        "//evil.example.com/",
        "http://chat.example.com/",
        "https://chat.example.com:444/",
        "https://chat.example.com@evil.example.com/",
        "https://a@chat.example.com/",
        "https://files.example.com.evil.net/",
        "https://xfiles.example.com/",
        "http://eu.files.example.com/",
        "https://chat.example.com\\@evil.example.com/",
        "ftp://chat.example.com/",
        "javascript:alert(1)",
        "https://[::1/",
        "/x\r\nHost: evil",
        "https://ch\u0430t.example.com/",
    ],
)
def test_d07_urls_that_lead_elsewhere(found: str) -> None:
    """Another host, scheme or port is refused: an answer never chooses where anything is sent."""
    with pytest.raises(ProtocolError):
        BASE.resolve(found)


@pytest.mark.parametrize("host", ["*", "*.com", "a", "https://a.example.com", "a.b/c", "", "*.*.b"])
def test_d01_hosts_that_are_none(host: str) -> None:
    """A list of hosts that would allow too much is a mistake in the recipe."""
    with pytest.raises(ConfigurationError, match="is not the name of a host"):
        Endpoint.of("https://a.example.com", hosts=[host])
