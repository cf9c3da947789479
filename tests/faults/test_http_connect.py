"""Faults of HTTP, part 6: the way to the service: names, addresses, proxies."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from berlin import Timeouts, errors
from berlin.transport import Transport
from berlin.types import Endpoint, HttpRequest
from support.fault_play import PASSWORD, ask, causes, open_berlin, told_by
from support.fault_server import TOKEN, FaultServer
from support.fault_steps import answer, line, stream
from support.ports import free_port

GOOD = stream(line("a"))
HTML = b"<html><h1>Bad Gateway</h1>" + b"<p>proxy " * 500 + b"</html>"
PROXY_PASSWORD = "secret-of-the-proxy"


@contextmanager
def silent_port(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port where connections never complete: its queue is full, and nobody accepts."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])


def resolve_to(monkeypatch: pytest.MonkeyPatch, name: str, addresses: list[str]) -> None:
    """Let one name have these addresses, in this order; none means that it is unknown."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        if host != name:
            return real(host, port, *args, **kwargs)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, (address, int(port))) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def proxy_url(port: int) -> str:
    """Return a proxy's URL with an account and a password in it."""
    return f"http://mia:{PROXY_PASSWORD}@127.0.0.1:{port}"


# What a proxy is asked: to pass on a request for http, to open a tunnel for https.
TARGETS = pytest.mark.parametrize("target", ["http://127.0.0.1:9", "https://service.example"])


@TARGETS
async def test_H43_proxy_answers_407(target: str) -> None:
    """A proxy that wants other credentials is named, without those it was given."""
    refusal = answer("407 Proxy Authentication Required", b"", "Proxy-Authenticate: Basic")
    async with FaultServer(logins=[refusal], connects=[refusal]) as proxy:
        async with open_berlin(target, proxy=proxy_url(proxy.port)) as berlin:
            seen = await ask(berlin)
        seen.failed_with(errors.ProxyError)
        assert seen.error is not None
        assert seen.error.status == 407
        assert PROXY_PASSWORD not in told_by(seen.error)
        assert len(proxy.requests) == 1
        assert "proxy-authorization" in proxy.requests[0].headers


async def test_H43_what_a_proxy_is_asked() -> None:
    """A proxy gets the whole URL, but nothing of it that is not sent: no fragment."""
    async with FaultServer(GOOD) as server:
        transport = Transport(
            Endpoint.of("http://api.test", allow_http=True, proxy=server.url), user_agent="test"
        )
        response = await transport.open(HttpRequest("POST", "/a%2Fb?q=1#top"), 5)
        response.close()
        await transport.aclose()
        assert [seen.target for seen in server.requests] == ["http://api.test/a%2Fb?q=1"]


@TARGETS
async def test_H44_proxy_is_down(target: str) -> None:
    """A proxy that is down is named, without its password."""
    port = free_port()
    async with open_berlin(target, proxy=proxy_url(port)) as berlin:
        seen = await ask(berlin)
    assert f"http://***@127.0.0.1:{port}" in seen.failed_with(errors.ProxyError)
    assert seen.error is not None
    assert PROXY_PASSWORD not in told_by(seen.error)


async def test_H44_proxy_never_answers() -> None:
    """A proxy that does not accept ends at the limit for connecting, and is named."""
    limits = Timeouts(connect=0.5, first_event=5, idle=5, total=8)
    with silent_port() as port:
        async with open_berlin("https://service.example", limits, proxy=proxy_url(port)) as berlin:
            seen = await ask(berlin)
    message = seen.failed_with(errors.UpstreamTimeoutError)
    assert message.startswith("connect")
    assert f"http://***@127.0.0.1:{port}" in message


@pytest.mark.parametrize(
    ("target", "kind", "tries"),
    [
        ("http://127.0.0.1:9", errors.ServiceUnavailableError, 3),
        ("https://service.example", errors.ProxyError, 1),
    ],
    ids=["http", "tunnel"],
)
async def test_H45_proxy_answers_502(
    target: str, kind: type[errors.BerlinError], tries: int
) -> None:
    """A page of a proxy is an error with its status; for plain http it is like the service's."""
    page = answer("502 Bad Gateway", HTML, "Content-Type: text/html")
    async with FaultServer(logins=[page], connects=[page]) as proxy:
        async with open_berlin(target, proxy=proxy_url(proxy.port)) as berlin:
            seen = await ask(berlin)
        assert "502" in seen.failed_with(kind)
        assert seen.error is not None
        assert seen.error.status == 502
        assert PROXY_PASSWORD not in told_by(seen.error)
        assert len(proxy.requests) == tries


async def test_H46_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that the environment names for everybody is not asked: only one that is given."""
    async with FaultServer(GOOD) as surprise, FaultServer(GOOD) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, surprise.url)
            monkeypatch.setenv(name.upper(), surprise.url)
        async with open_berlin(server.url) as berlin:
            assert (await ask(berlin)).text == "a"
        assert surprise.connections == []
        assert server.chats[0].headers["token"] == TOKEN


async def test_H46_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Passwords in a .netrc go nowhere."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login mia password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with FaultServer(GOOD) as server, open_berlin(server.url) as berlin:
        assert (await ask(berlin)).text == "a"
        assert not [one for one in server.requests if "authorization" in one.headers]


async def test_H47_name_that_does_not_resolve() -> None:
    """A name under a domain that never exists is an error in less than 5 seconds."""
    url = "https://service.berlin.invalid"
    async with open_berlin(url) as berlin:
        seen = await ask(berlin)
    assert seen.failed_with(errors.ConnectError).startswith(f"no connection to {url}: ")


async def test_H47_name_that_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody knows is an error at once, whatever the network here is like."""
    resolve_to(monkeypatch, "service.example", [])
    async with open_berlin("https://service.example") as berlin:
        seen = await ask(berlin)
    assert "service.example" in seen.failed_with(errors.ConnectError)


@pytest.mark.parametrize("silent", [False, True], ids=["refuses", "is silent"])
async def test_H48_first_of_two_addresses_is_dead(
    silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the first address of a name is dead, the second one is used in less than a second."""
    resolve_to(monkeypatch, "two.localhost", ["127.0.0.2", "127.0.0.1"])
    async with FaultServer(GOOD) as server:
        with ExitStack() as stack:
            if silent:
                stack.enter_context(silent_port("127.0.0.2", server.port))
            async with open_berlin(f"http://two.localhost:{server.port}") as berlin:
                seen = await ask(berlin)
        assert seen.text == "a"
        assert len(server.connections) == 1


async def test_H49_connection_refused() -> None:
    """A port where nobody listens is an error at once, not tried again."""
    url = f"http://127.0.0.1:{free_port()}"
    async with open_berlin(url) as berlin:
        seen = await ask(berlin)
    assert url in seen.failed_with(errors.ConnectError)
    assert any(isinstance(one, ConnectionRefusedError) for one in causes(seen.error))


async def test_H50_connect_never_completes() -> None:
    """A connection that never completes ends at the limit for connecting."""
    limits = Timeouts(connect=0.5, first_event=5, idle=5, total=8)
    with silent_port() as port:
        async with open_berlin(f"http://127.0.0.1:{port}", limits) as berlin:
            seen = await ask(berlin)
    assert seen.failed_with(errors.UpstreamTimeoutError).startswith("connect")
    assert PASSWORD not in told_by(seen.error)
    assert 0.4 in seen.passed
