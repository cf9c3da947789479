"""Where a service is."""

from __future__ import annotations

import msgspec
import pytest

from berlin import errors
from berlin.types import Endpoint, Secret, is_loopback, is_metadata_service, mask_url


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://service.example", "https://service.example"),
        ("https://service.example/", "https://service.example"),
        ("https://service.example//", "https://service.example"),
        ("https://service.example:8443/base/", "https://service.example:8443/base"),
        ("https://[2001:db8::1]:443", "https://[2001:db8::1]:443"),
        ("https://xn--bcher-kva.example/%D0%BF", "https://xn--bcher-kva.example/%D0%BF"),
    ],
)
def test_a_url_is_kept_without_slashes_at_its_end(url: str, kept: str) -> None:
    """Paths are appended to it, so it ends without a slash."""
    assert Endpoint.of(url).url == kept


@pytest.mark.parametrize("url", [None, 5, b"https://service.example", ["https://x.example"]])
def test_a_url_is_text(url: object) -> None:
    """Anything but text is refused by name and type."""
    with pytest.raises(
        errors.ConfigurationError, match=rf"^url must be text, not {type(url).__name__}$"
    ):
        Endpoint.of(url)


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h", "socks4"])
def test_the_schemes_of_a_proxy(scheme: str) -> None:
    """HTTP and SOCKS proxies, with and without credentials; they are kept as a secret."""
    for url in (f"{scheme}://proxy.example:1", f"{scheme}://joe:pw@proxy.example:1"):
        assert Endpoint.of("https://x.example", proxy=url).proxy == Secret(url)
        assert Endpoint.of("https://x.example", proxy=Secret(url)).proxy == Secret(url)


@pytest.mark.parametrize("proxy", ["", "proxy.example:8080", "http://", 5, "http://a b"])
def test_a_proxy_that_is_no_url(proxy: object) -> None:
    """A proxy is checked like the URL, and named as the proxy."""
    with pytest.raises(errors.ConfigurationError, match=r"^proxy "):
        Endpoint.of("https://x.example", proxy=proxy)


def test_no_proxy() -> None:
    """Without one the connection is direct."""
    assert Endpoint.of("https://x.example").proxy is None


def test_two_of_the_same_are_equal() -> None:
    """It can be a key: equal settings are one endpoint, another password is another one."""

    def made(password: str) -> Endpoint:
        return Endpoint.of("https://x.example", proxy=f"http://joe:{password}@proxy.example")

    assert made("a") == made("a")
    assert hash(made("a")) == hash(made("a"))
    assert made("a") != made("b")
    with pytest.raises(AttributeError):
        made("a").url = "http://evil.example"
    assert msgspec.structs.replace(made("a"), proxy=None).proxy is None


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("localhost", True),
        ("app.localhost", True),
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("localhost.example", False),
        ("notlocalhost", False),
        ("127.0.0.1.example", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("::2", False),
        ("2130706433", False),
        ("0x7f.1", False),
        ("", False),
    ],
)
def test_this_machine(host: str, answer: bool) -> None:
    """Only names and addresses that cannot lead elsewhere mean this machine."""
    assert is_loopback(host) is answer


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("http://joe:pw@proxy.example:1/x", "http://***@proxy.example:1/x"),
        ("http://joe@proxy.example", "http://***@proxy.example"),
        ("http://joe:p@w@proxy.example", "http://***@proxy.example"),
        ("http://joe:p/w@proxy.example", "http://***@proxy.example"),
        ("joe:pw@proxy.example", "***@proxy.example"),
        ("http://proxy.example", "http://proxy.example"),
        ("", ""),
    ],
)
def test_x20_a_masked_url(url: str, masked: str) -> None:
    """Whatever stands before the last `@` is masked, so that no odd password slips through."""
    assert mask_url(url) == masked


@pytest.mark.parametrize("host", ["169.254.169.254", "169.254.170.23", "fd00:ec2::254"])
def test_the_metadata_service_of_a_cloud_is_known(host: str) -> None:
    """It is known by address, but a service whose base URL it is would get a password in clear."""
    assert is_metadata_service(host)
    with pytest.raises(errors.ConfigurationError, match="plain http"):
        Endpoint.of(f"http://{f'[{host}]' if ':' in host else host}/latest")


@pytest.mark.parametrize("host", ["169.254.1.1", "metadata.google.internal", "169.254.169.254.a.b"])
def test_what_only_looks_like_it_is_not(host: str) -> None:
    """Another link-local address, or a name, may be another machine."""
    assert not is_metadata_service(host)
    with pytest.raises(errors.ConfigurationError, match="plain http"):
        Endpoint.of(f"http://{host}/latest")
