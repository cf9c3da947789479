"""Faults of HTTP, part 4: redirects, which are never followed, and cookies, which are not kept."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest

from berlin import errors
from support.fault_play import PASSWORD, ask, open_berlin, play
from support.fault_server import CHAT_PATH, LOGIN_PATH, FaultServer
from support.fault_steps import Script, answer, line, login_answer, stream

STATUSES = ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect"]
GOOD = stream(line("a"))


def redirect(to: str, status: str = "307 Temporary Redirect") -> Script:
    """Answer with a redirect."""
    return answer(status, b"over there", f"Location: {to}")


@pytest.mark.parametrize("status", [*STATUSES, "308 Permanent Redirect", "300 Multiple Choices"])
async def test_H35_redirect_of_the_chat(status: str) -> None:
    """A redirect of the chat is an error, and nothing is sent to where it points."""
    seen = await play(redirect("/elsewhere", status), GOOD)
    seen.failed_with(errors.RedirectError)
    assert seen.error is not None
    assert seen.error.status == int(status[:3])
    assert [request.path for request in seen.requests] == [LOGIN_PATH, CHAT_PATH]


async def test_H35_redirect_without_location() -> None:
    """A redirect that points nowhere is one too."""
    seen = await play(answer("302 Found"), GOOD)
    seen.failed_with(errors.RedirectError)
    assert len(seen.chats) == 1


@pytest.mark.parametrize("status", STATUSES)
async def test_H36_redirect_of_the_chat_to_another_host(status: str) -> None:
    """Neither the token nor the prompt reaches a host that a redirect names."""
    async with FaultServer(GOOD) as other:
        seen = await play(redirect(f"http://localhost:{other.port}{CHAT_PATH}", status))
        seen.failed_with(errors.RedirectError)
        assert other.connections == []
    assert len(seen.chats) == 1


@pytest.mark.parametrize("status", STATUSES)
async def test_H37_redirect_of_the_login_to_another_host(status: str) -> None:
    """Neither account nor password reaches a host that a redirect names."""
    async with FaultServer(GOOD) as other:
        to = f"http://localhost:{other.port}{LOGIN_PATH}"
        seen = await play(GOOD, logins=[redirect(to, status)])
        seen.failed_with(errors.RedirectError)
        assert other.connections == []
    assert (len(seen.logins), len(seen.chats)) == (1, 0)


@pytest.mark.parametrize("to", [CHAT_PATH, ""])
async def test_H38_redirect_loop(to: str) -> None:
    """A redirect to itself is an error after the first time."""
    seen = await play(redirect(to))
    seen.failed_with(errors.RedirectError)
    assert len(seen.chats) == 1


@pytest.mark.parametrize("of", ["login", "chat"])
async def test_H39_redirect_from_https_to_http(
    of: str, server_tls: Callable[..., ssl.SSLContext], ca_file: str
) -> None:
    """A service with TLS cannot lead the credentials to where there is none."""
    async with FaultServer(GOOD) as plain:
        chat = redirect(plain.url + CHAT_PATH) if of == "chat" else GOOD
        login = redirect(plain.url + LOGIN_PATH) if of == "login" else login_answer("a-token")
        async with (
            FaultServer(chat, logins=[login], tls=server_tls()) as server,
            open_berlin(server.url, ca_file=ca_file) as berlin,
        ):
            (await ask(berlin)).failed_with(errors.RedirectError)
            assert server.logins[0].headers["host"] == f"127.0.0.1:{server.port}"
            assert PASSWORD.encode() in server.logins[0].body
        assert plain.connections == []


async def test_H53_set_cookie() -> None:
    """A cookie that the service sets is sent to nobody: no other account, no other service."""
    cookie = "Set-Cookie: session=of-somebody; Path=/; Max-Age=9999"
    body = b'{"data":{"token":"a-token"}}'
    chat = answer("200 OK", line("a"), cookie)
    login = answer("200 OK", body, cookie)
    async with FaultServer(chat, logins=[login]) as one, FaultServer(GOOD) as two:
        async with open_berlin(one.url) as berlin:
            assert (await ask(berlin)).text == "a"
            assert (await ask(berlin)).text == "a"
        for url in (one.url, two.url):
            async with open_berlin(url) as another:
                assert (await ask(another)).text == "a"
        seen = [*one.requests, *two.requests]
        assert len(seen) == 7
        assert not [request for request in seen if "cookie" in request.headers]
