"""Berlin through real proxy servers: tinyproxy for HTTP, microsocks for SOCKS5."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from berlin import Berlin, Timeouts, errors
from support import proxies, tls_service
from support.ports import free_port
from support.proxies import RunningProxy
from support.tls_service import ACCOUNT, ANSWER, PASSWORD, OwnAuthority, TinyService

LIMITS = Timeouts(connect=2, first_event=3, idle=3, total=6)
PROXY_ACCOUNT = "proxy-user"
PROXY_PASSWORD = "s3cret-of-the-proxy"
WRONG_PASSWORD = "wr0ng-of-the-proxy"

SOCKS = ("socks5", "socks5h")


@pytest.fixture
async def http_service() -> AsyncIterator[TinyService]:
    """A service on plain http."""
    async with tls_service.running() as service:
        yield service


@pytest.fixture
def authority(tmp_path: Path) -> OwnAuthority:
    """The authority that the https service has its certificate from."""
    return OwnAuthority(tmp_path)


@pytest.fixture
async def https_service(authority: OwnAuthority) -> AsyncIterator[TinyService]:
    """A service on https."""
    async with tls_service.running(authority.context("localhost"), host="localhost") as service:
        yield service


def berlin(service: TinyService, proxy: str, authority: OwnAuthority | None = None) -> Berlin:
    """Return a provider that goes through a proxy."""
    return Berlin(
        service.url,
        ACCOUNT,
        PASSWORD,
        proxy=proxy,
        timeout=LIMITS,
        ca_file=authority.ca_file if authority else None,
    )


async def failure(provider: Berlin) -> errors.BerlinError:
    """Return the error that a question ends with."""
    async with provider:
        with pytest.raises(errors.BerlinError) as caught:
            await provider.ask("Hello")
    return caught.value


def assert_silent(error: BaseException, *secrets: str) -> None:
    """No secret shows in an error, its causes, its attributes or its traceback."""
    shown = ["".join(traceback.format_exception(error))]
    chain: list[BaseException | None] = [error]
    while chain:
        here = chain.pop()
        if here is not None:
            shown += [str(here), repr(here), repr(vars(here))]
            chain += [here.__cause__, here.__context__]
    for secret in secrets:
        assert not [text for text in shown if secret in text]


def went_through(proxy: RunningProxy, service: TinyService) -> int:
    """Return how many requests the service got, all from the proxy."""
    assert service.address in proxy.log
    return len(service.paths)


# HTTP proxy


async def test_http_service_through_an_open_http_proxy(
    tmp_path: Path, http_service: TinyService
) -> None:
    """A plain http service is asked by absolute URI, login and chat alike."""
    with proxies.tinyproxy(tmp_path) as proxy:
        async with berlin(http_service, proxy.url("http")) as provider:
            answer = await provider.ask("Hello")
        log = proxy.log
    assert answer.text == ANSWER
    assert http_service.paths == ["/api/login", "/api/chat/completions"]
    assert f"POST {http_service.url}/api/login HTTP/1.1" in log
    assert f"POST {http_service.url}/api/chat/completions HTTP/1.1" in log
    assert "CONNECT 127.0.0.1" not in log
    # The proxy tells the service that it was there.
    assert "via" in http_service.headers


async def test_http_service_through_an_http_proxy_with_the_right_password(
    tmp_path: Path, http_service: TinyService
) -> None:
    """The proxy's password opens the proxy, and never reaches the service."""
    with proxies.tinyproxy(tmp_path, PROXY_ACCOUNT, PROXY_PASSWORD) as proxy:
        url = proxy.url("http", PROXY_ACCOUNT, PROXY_PASSWORD)
        async with berlin(http_service, url) as provider:
            answer = await provider.ask("Hello")
        assert went_through(proxy, http_service) == 2
    assert answer.text == ANSWER
    assert "via" in http_service.headers
    assert "proxy-authorization" not in http_service.headers


async def test_http_service_through_an_http_proxy_without_the_password_it_needs(
    tmp_path: Path, http_service: TinyService
) -> None:
    """A 407 for an absolute URI is the proxy's refusal; nothing reaches the service."""
    with proxies.tinyproxy(tmp_path, PROXY_ACCOUNT, PROXY_PASSWORD) as proxy:
        error = await failure(berlin(http_service, proxy.url("http")))
    assert type(error) is errors.ProxyError
    assert error.status == 407
    assert "407" in error.message
    assert http_service.paths == []


async def test_http_service_through_an_http_proxy_with_a_wrong_password(
    tmp_path: Path, http_service: TinyService
) -> None:
    """Tinyproxy's 401 instead of the 407 of RFC 9110 reads like the service's own: exit code 3."""
    with proxies.tinyproxy(tmp_path, PROXY_ACCOUNT, PROXY_PASSWORD) as proxy:
        url = proxy.url("http", PROXY_ACCOUNT, WRONG_PASSWORD)
        error = await failure(berlin(http_service, url))
    # An absolute URI gives one answer for both ends; only its text tells who refused.
    assert type(error) is errors.AuthenticationError
    assert error.status == 401
    assert "401 Unauthorized" in error.message
    assert http_service.paths == []
    assert_silent(error, WRONG_PASSWORD, PROXY_PASSWORD, PASSWORD)


async def test_https_service_through_an_open_http_proxy(
    tmp_path: Path, https_service: TinyService, authority: OwnAuthority
) -> None:
    """An https service is reached by CONNECT, and its certificate is checked behind the proxy."""
    with proxies.tinyproxy(tmp_path) as proxy:
        async with berlin(https_service, proxy.url("http"), authority) as provider:
            answer = await provider.ask("Hello")
        log = proxy.log
    assert answer.text == ANSWER
    assert https_service.paths == ["/api/login", "/api/chat/completions"]
    assert f"CONNECT {https_service.address} HTTP/1.1" in log
    assert "/api/login" not in log


async def test_https_service_through_an_http_proxy_with_the_right_password(
    tmp_path: Path, https_service: TinyService, authority: OwnAuthority
) -> None:
    """The proxy's password goes into the CONNECT, never into the tunnel."""
    with proxies.tinyproxy(tmp_path, PROXY_ACCOUNT, PROXY_PASSWORD) as proxy:
        url = proxy.url("http", PROXY_ACCOUNT, PROXY_PASSWORD)
        async with berlin(https_service, url, authority) as provider:
            answer = await provider.ask("Hello")
        assert went_through(proxy, https_service) == 2
    assert answer.text == ANSWER
    assert "proxy-authorization" not in https_service.headers


@pytest.mark.parametrize(
    ("password", "status"), [(WRONG_PASSWORD, 401), (None, 407)], ids=["wrong", "none"]
)
async def test_h43_https_service_through_an_http_proxy_that_refuses(
    tmp_path: Path,
    https_service: TinyService,
    authority: OwnAuthority,
    password: str | None,
    status: int,
) -> None:
    """A CONNECT that is refused is a ProxyError that names the proxy without its password."""
    with proxies.tinyproxy(tmp_path, PROXY_ACCOUNT, PROXY_PASSWORD) as proxy:
        url = proxy.url("http", password and PROXY_ACCOUNT, password)
        error = await failure(berlin(https_service, url, authority))
    assert type(error) is errors.ProxyError
    assert error.status == status
    assert proxy.address in error.message
    assert https_service.paths == []
    assert_silent(error, WRONG_PASSWORD, PROXY_PASSWORD, PASSWORD)


async def test_tls_is_verified_behind_an_http_proxy(
    tmp_path: Path, https_service: TinyService
) -> None:
    """A proxy is no reason to trust a certificate that nobody vouches for."""
    with proxies.tinyproxy(tmp_path) as proxy:
        error = await failure(berlin(https_service, proxy.url("http")))
    assert type(error) is errors.TLSError
    assert https_service.paths == []


# SOCKS5


@pytest.mark.parametrize("scheme", SOCKS)
async def test_http_service_through_an_open_socks_proxy(
    tmp_path: Path, http_service: TinyService, scheme: str
) -> None:
    """A plain http service is reached through SOCKS5."""
    with proxies.microsocks(tmp_path) as proxy:
        async with berlin(http_service, proxy.url(scheme)) as provider:
            answer = await provider.ask("Hello")
        assert went_through(proxy, http_service) == 2
    assert answer.text == ANSWER


@pytest.mark.parametrize("scheme", SOCKS)
async def test_https_service_through_a_socks_proxy_with_the_right_password(
    tmp_path: Path, https_service: TinyService, authority: OwnAuthority, scheme: str
) -> None:
    """An https service is reached through SOCKS5, and the proxy resolves its name."""
    with proxies.microsocks(tmp_path, PROXY_ACCOUNT, PROXY_PASSWORD) as proxy:
        url = proxy.url(scheme, PROXY_ACCOUNT, PROXY_PASSWORD)
        async with berlin(https_service, url, authority) as provider:
            answer = await provider.ask("Hello")
        log = proxy.log
    assert answer.text == ANSWER
    assert https_service.paths == ["/api/login", "/api/chat/completions"]
    assert f"connected to {https_service.address}" in log


@pytest.mark.parametrize("scheme", SOCKS)
async def test_http_service_through_a_socks_proxy_with_the_right_password(
    tmp_path: Path, http_service: TinyService, scheme: str
) -> None:
    """A plain http service is reached through SOCKS5 with account and password."""
    with proxies.microsocks(tmp_path, PROXY_ACCOUNT, PROXY_PASSWORD) as proxy:
        url = proxy.url(scheme, PROXY_ACCOUNT, PROXY_PASSWORD)
        async with berlin(http_service, url) as provider:
            answer = await provider.ask("Hello")
        assert went_through(proxy, http_service) == 2
    assert answer.text == ANSWER


async def test_https_service_through_an_open_socks_proxy(
    tmp_path: Path, https_service: TinyService, authority: OwnAuthority
) -> None:
    """An https service is reached through SOCKS5 without a password."""
    with proxies.microsocks(tmp_path) as proxy:
        async with berlin(https_service, proxy.url("socks5"), authority) as provider:
            answer = await provider.ask("Hello")
        assert went_through(proxy, https_service) == 2
    assert answer.text == ANSWER


@pytest.mark.parametrize("password", [WRONG_PASSWORD, None], ids=["wrong", "none"])
@pytest.mark.parametrize("scheme", SOCKS)
async def test_http_service_through_a_socks_proxy_that_refuses(
    tmp_path: Path, http_service: TinyService, scheme: str, password: str | None
) -> None:
    """A SOCKS proxy that refuses is a ProxyError that names the proxy without its password."""
    with proxies.microsocks(tmp_path, PROXY_ACCOUNT, PROXY_PASSWORD) as proxy:
        url = proxy.url(scheme, password and PROXY_ACCOUNT, password)
        error = await failure(berlin(http_service, url))
    assert type(error) is errors.ProxyError
    assert proxy.address in error.message
    assert http_service.paths == []
    assert_silent(error, WRONG_PASSWORD, PROXY_PASSWORD, PASSWORD)


@pytest.mark.parametrize("password", [WRONG_PASSWORD, None], ids=["wrong", "none"])
async def test_https_service_through_a_socks_proxy_that_refuses(
    tmp_path: Path, https_service: TinyService, authority: OwnAuthority, password: str | None
) -> None:
    """The same holds for an https service."""
    with proxies.microsocks(tmp_path, PROXY_ACCOUNT, PROXY_PASSWORD) as proxy:
        url = proxy.url("socks5", password and PROXY_ACCOUNT, password)
        error = await failure(berlin(https_service, url, authority))
    assert type(error) is errors.ProxyError
    assert proxy.address in error.message
    assert https_service.paths == []
    assert_silent(error, WRONG_PASSWORD, PROXY_PASSWORD, PASSWORD)


async def test_tls_is_verified_behind_a_socks_proxy(
    tmp_path: Path, https_service: TinyService
) -> None:
    """A SOCKS proxy is no reason to trust a certificate that nobody vouches for."""
    with proxies.microsocks(tmp_path) as proxy:
        error = await failure(berlin(https_service, proxy.url("socks5")))
    assert type(error) is errors.TLSError
    assert https_service.paths == []


# A proxy that is down


@pytest.mark.parametrize("scheme", ["http", *SOCKS])
async def test_h44_a_proxy_that_is_down_before_an_http_service(
    http_service: TinyService, scheme: str
) -> None:
    """A dead proxy is a ProxyError that names host and port, and the service is not asked."""
    address = f"127.0.0.1:{free_port()}"
    url = f"{scheme}://{PROXY_ACCOUNT}:{PROXY_PASSWORD}@{address}"
    error = await failure(berlin(http_service, url))
    assert type(error) is errors.ProxyError
    assert address in error.message
    assert http_service.paths == []
    assert_silent(error, PROXY_PASSWORD, PASSWORD)


@pytest.mark.parametrize("scheme", ["http", *SOCKS])
async def test_h44_a_proxy_that_is_down_before_an_https_service(
    https_service: TinyService, authority: OwnAuthority, scheme: str
) -> None:
    """The same holds for an https service; there is no way around the proxy."""
    address = f"127.0.0.1:{free_port()}"
    url = f"{scheme}://{PROXY_ACCOUNT}:{PROXY_PASSWORD}@{address}"
    error = await failure(berlin(https_service, url, authority))
    assert type(error) is errors.ProxyError
    assert address in error.message
    assert https_service.paths == []
    assert_silent(error, PROXY_PASSWORD, PASSWORD)
