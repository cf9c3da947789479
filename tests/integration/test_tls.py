"""Which services Berlin talks to: certificates, plain http, odd URLs, surprising settings."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from berlin import Berlin, Timeouts, errors
from berlin.types import Endpoint, Secret, mask_url
from support import tls_service
from support.ports import free_port
from support.tls_service import ACCOUNT, ANSWER, PASSWORD, TOKEN, OwnAuthority

LIMITS = Timeouts(connect=2, first_event=3, idle=3, total=6)


@pytest.fixture
def authority(tmp_path: Path) -> OwnAuthority:
    """An authority that only the test knows."""
    return OwnAuthority(tmp_path)


def berlin(url: str, **settings: str) -> Berlin:
    """Return a provider for a URL."""
    return Berlin(url, ACCOUNT, PASSWORD, timeout=LIMITS, **settings)


async def refused(context: ssl.SSLContext, ca_file: str | None, **settings: str) -> str:
    """Ask a service that must not be trusted; return what the TLSError says."""
    async with (
        tls_service.running(context, **settings) as service,
        Berlin(service.url, ACCOUNT, PASSWORD, timeout=LIMITS, ca_file=ca_file) as provider,
    ):
        provider._token = TOKEN  # with a token at hand, the chat itself would go out
        with pytest.raises(errors.TLSError) as with_token:
            await provider.ask("a prompt that nobody may read")
        provider._token = None
        with pytest.raises(errors.TLSError) as with_login:
            await provider.ask("a prompt that nobody may read")
    assert service.paths == []
    assert service.bodies == []
    assert type(with_token.value) is type(with_login.value) is errors.TLSError
    assert service.url in with_login.value.message
    return with_login.value.message


# Certificates


async def test_a_certificate_of_ones_own_authority_is_trusted_by_ca_file(
    authority: OwnAuthority,
) -> None:
    """`ca_file` makes a certificate of one's own authority good."""
    async with (
        tls_service.running(authority.context("localhost"), host="localhost") as service,
        berlin(service.url, ca_file=authority.ca_file) as provider,
    ):
        answer = await provider.ask("Hello")
    assert answer.text == ANSWER
    assert service.paths == ["/api/login", "/api/chat/completions"]


async def test_a_certificate_for_an_address_is_good_for_that_address(
    authority: OwnAuthority,
) -> None:
    """A service without a name is verified by its address."""
    async with (
        tls_service.running(authority.context("127.0.0.1")) as service,
        berlin(service.url, ca_file=authority.ca_file) as provider,
    ):
        assert (await provider.ask("Hello")).text == ANSWER


async def test_ca_file_comes_from_the_environment_too(
    authority: OwnAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`BERLIN_CA_FILE` does what `ca_file` does."""
    monkeypatch.setenv("BERLIN_CA_FILE", authority.ca_file)
    async with (
        tls_service.running(authority.context("localhost"), host="localhost") as service,
        berlin(service.url) as provider,
    ):
        assert (await provider.ask("Hello")).text == ANSWER


async def test_h40_an_unknown_authority_gets_nothing(authority: OwnAuthority) -> None:
    """A certificate of an unknown authority is a TLSError; no token, login or prompt is sent."""
    said = await refused(authority.context("localhost"), None, host="localhost")
    assert "unable to get local issuer certificate" in said


async def test_h40_ca_file_replaces_the_systems_authorities(
    authority: OwnAuthority, tmp_path: Path
) -> None:
    """Who names one authority trusts that one, not another that was made the same way."""
    (tmp_path / "other").mkdir()
    other = OwnAuthority(tmp_path / "other")
    await refused(authority.context("localhost"), other.ca_file, host="localhost")


async def test_h41_a_certificate_for_another_name_gets_nothing(authority: OwnAuthority) -> None:
    """A good certificate for another name is a TLSError; nothing is sent."""
    said = await refused(
        authority.context("elsewhere.example"), authority.ca_file, host="localhost"
    )
    assert "Hostname mismatch" in said


async def test_h41_an_expired_certificate_gets_nothing(authority: OwnAuthority) -> None:
    """An expired certificate is a TLSError; nothing is sent."""
    said = await refused(
        authority.context("localhost", expired=True), authority.ca_file, host="localhost"
    )
    assert "certificate has expired" in said


async def test_a_service_without_tls_behind_https_is_a_tls_error(authority: OwnAuthority) -> None:
    """An https URL of a service that speaks plain http is a TLSError; no fall-back to http."""
    async with tls_service.running() as service:
        url = service.url.replace("http://", "https://")
        async with berlin(url, ca_file=authority.ca_file) as provider:
            with pytest.raises(errors.TLSError):
                await provider.ask("Hello")
    assert service.paths == []


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAA"])
async def test_a_ca_file_that_cannot_be_used_is_a_configuration_error(
    tmp_path: Path, authority: OwnAuthority, content: bytes | None
) -> None:
    """A `ca_file` that is missing or no PEM is a ConfigurationError that names it."""
    ca_file = tmp_path / "broken.pem"
    if content is not None:
        ca_file.write_bytes(content)
    async with (
        tls_service.running(authority.context("localhost"), host="localhost") as service,
        berlin(service.url, ca_file=str(ca_file)) as provider,
    ):
        with pytest.raises(errors.ConfigurationError, match="ca_file") as caught:
            await provider.ask("Hello")
    assert str(ca_file) in caught.value.message
    assert service.paths == []


# URLs


@pytest.mark.parametrize(
    "url",
    ["http://service.example", "http://10.0.0.1:8000", "http://localhost.example", "http://[::2]"],
)
def test_x21_plain_http_to_another_machine_is_refused(url: str) -> None:
    """Credentials never go over plain http to another machine unasked; the error says how."""
    with pytest.raises(errors.ConfigurationError, match="plain http") as caught:
        berlin(url)
    assert "BERLIN_ALLOW_HTTP=1" in caught.value.message
    assert PASSWORD not in caught.value.message


@pytest.mark.parametrize("url", ["http://service.example", "http://10.0.0.1:8000"])
def test_x21_plain_http_is_possible_for_who_asks_for_it(url: str) -> None:
    """`allow_http=True` is the opt-in."""
    provider = Berlin(url, ACCOUNT, PASSWORD, allow_http=True)
    assert provider.url == url


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_x21_plain_http_to_this_machine_needs_no_opt_in(host: str) -> None:
    """What stays on this machine cannot be read on the way."""
    assert berlin(f"http://{host}:8000").url == f"http://{host}:8000"


def test_x21_the_opt_in_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`BERLIN_ALLOW_HTTP` allows it for 1, true and yes, and for nothing else."""
    for value in ("1", "true", "yes"):
        monkeypatch.setenv("BERLIN_ALLOW_HTTP", value)
        assert berlin("http://service.example").url == "http://service.example"
    for value in ("", "0", "no", "false"):
        monkeypatch.setenv("BERLIN_ALLOW_HTTP", value)
        with pytest.raises(errors.ConfigurationError, match="plain http"):
            berlin("http://service.example")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://joe:pw-in-url@service.example", "must not contain an account"),
        ("https://joe@service.example", "must not contain an account"),
        ("https://@service.example", "must not contain an account"),
        ("https://service.example\\@evil.example", "characters that a URL cannot contain"),
        ("https://service.example\\.evil.example", "characters that a URL cannot contain"),
        ("https://service.example/\tpath", "characters that a URL cannot contain"),
        ("https://ser\tvice.example", "characters that a URL cannot contain"),
        ("https://service.example\r\nHost: evil.example", "characters that a URL cannot contain"),
        (" https://service.example", "characters that a URL cannot contain"),
        ("https://service.example\x00", "characters that a URL cannot contain"),
        ("https://sérvice.example", "characters that a URL cannot contain"),
        ("https://service\uff0eexample", "characters that a URL cannot contain"),
        ("https://service.example:99999", "is not a URL"),
        ("https://service.example:0", "with a host"),
        ("https://[::1", "is not a URL"),
        ("https://", "with a host"),
        ("https:///path", "with a host"),
        ("https://service.example/?a=b", "without '?' and '#'"),
        ("https://service.example/#a", "without '?' and '#'"),
    ],
)
def test_x04_urls_that_parsers_read_differently_are_refused(url: str, said: str) -> None:
    """Userinfo, backslash, tab and their like are refused before any network use."""
    with pytest.raises(errors.ConfigurationError) as caught:
        berlin(url)
    assert said in caught.value.message
    assert "pw-in-url" not in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "unix:///run/service.sock",
        "gopher://service.example",
        "ftp://service.example",
        "ws://service.example",
    ],
)
def test_x05_other_schemes_are_refused(url: str) -> None:
    """Only https and http are schemes of a service."""
    with pytest.raises(errors.ConfigurationError, match="must be http:// or https:// with a host"):
        berlin(url)


@pytest.mark.parametrize(
    "name", ["data:text/plain,hello", "//service.example", "service.example", "javascript:alert(1)"]
)
def test_x05_what_is_not_a_url_is_a_name(name: str) -> None:
    """Text without `://` names a provider: if there is none, nothing is sent anywhere."""
    with pytest.raises(errors.ModelNotFoundError, match="there is no model or provider"):
        berlin(name)


# Proxies


@pytest.mark.parametrize("scheme", ["file", "ftp", "unix", "socks"])
def test_x05_other_schemes_of_a_proxy_are_refused(scheme: str) -> None:
    """A proxy is HTTP, HTTPS or SOCKS; its password does not show in the error."""
    with pytest.raises(errors.ConfigurationError, match="proxy must be") as caught:
        berlin("https://service.example", proxy=f"{scheme}://joe:proxy-pw@127.0.0.1:1")
    assert "proxy-pw" not in caught.value.message


@pytest.mark.parametrize(
    "proxy",
    [
        "http://joe:proxy-pw@proxy .example",
        "http://joe:proxy-pw@proxy.example:99999",
        "http://joe:proxy-pw@",
        "joe:proxy-pw@proxy.example",
    ],
)
def test_x20_a_bad_proxy_url_is_told_without_its_password(proxy: str) -> None:
    """The error of a proxy URL that cannot be used masks the password in it."""
    with pytest.raises(errors.ConfigurationError) as caught:
        berlin("https://service.example", proxy=proxy)
    here: BaseException | None = caught.value
    while here is not None:
        assert "proxy-pw" not in f"{here} {here!r}"
        here = here.__cause__ or here.__context__


def test_x20_the_proxy_password_is_masked_everywhere() -> None:
    """Neither the endpoint nor the provider shows the proxy's password."""
    proxy = "http://joe:proxy-pw@proxy.example:8080"
    endpoint = Endpoint.of("https://service.example", proxy=proxy)
    provider = berlin("https://service.example", proxy=proxy)
    shown = f"{endpoint!r} {endpoint} {provider!r} {provider} {vars(provider)!r}"
    assert "proxy-pw" not in shown
    assert endpoint.proxy == Secret(proxy)
    assert mask_url(proxy) == "http://***@proxy.example:8080"


async def test_x20_a_dead_proxy_is_named_without_its_password() -> None:
    """The error of a dead proxy shows its address, and `***` for who uses it."""
    address = f"127.0.0.1:{free_port()}"
    async with berlin("https://service.example", proxy=f"http://joe:proxy-pw@{address}") as b:
        with pytest.raises(errors.ProxyError) as caught:
            await b.ask("Hello")
    assert f"http://***@{address}" in caught.value.message
    assert "proxy-pw" not in caught.value.message


# What is not used by surprise


def netrc_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a home whose `.netrc` has a login for this machine."""
    line = "machine {} login netrc-user password netrc-password\n"
    netrc = folder / ".netrc"
    netrc.write_text(line.format("127.0.0.1") + line.format("localhost"), "utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("NETRC", str(netrc))


async def test_x22_netrc_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No login of `~/.netrc` goes out, though it is there for this very host."""
    netrc_for(tmp_path, monkeypatch)
    async with tls_service.running() as service, berlin(service.url) as provider:
        assert (await provider.ask("Hello")).text == ANSWER
    assert service.paths == ["/api/login", "/api/chat/completions"]
    assert "authorization" not in service.headers
    assert b"netrc-password" not in b"".join(service.bodies)


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
async def test_h46_proxy_variables_are_not_used(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A proxy of the environment sees nothing: only BERLIN_PROXY and `proxy` name one."""
    async with tls_service.running() as surprise, tls_service.running() as service:
        monkeypatch.setenv(name, surprise.url)
        monkeypatch.delenv("no_proxy", raising=False)
        async with berlin(service.url) as provider:
            assert (await provider.ask("Hello")).text == ANSWER
    assert surprise.paths == []
    assert service.paths == ["/api/login", "/api/chat/completions"]
