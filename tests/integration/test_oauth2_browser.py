"""A login in a browser: authorization code with PKCE, against a strict server."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from berlin import errors
from support.identity_service import Browser, IdentityService
from support.oauth_service import FlowService, provider, reply

CODE = (
    '[auth]\nflow = "oauth2"\ngrant = "authorization_code"\nscope = "openid chat"\n'
    'token_url = "/token"\nclient_auth = "none"\n'
)
CLIENT = {"client_id": "c", "client_secret": "s"}


def table(service: IdentityService, *, discovers: bool = False) -> str:
    """Return the table `[auth]`; the page has a whole URL, as it is opened by a browser."""
    if discovers:
        return CODE.replace('token_url = "/token"', f'issuer = "{service.url}"')
    return f'{CODE}authorize_url = "{service.url}/authorize"\n'


def found_by(service: FlowService) -> str:
    """Return a table `[auth]` whose endpoints are looked up."""
    return f'[auth]\nflow = "oauth2"\ngrant = "client_credentials"\nissuer = "{service.url}"\n'


@pytest.mark.parametrize("pastes", [False, True], ids=["here", "pasted"])
@pytest.mark.parametrize("discovers", [False, True], ids=["given", "issuer"])
async def test_a_person_logs_in(pastes: bool, discovers: bool, tmp_path: Path) -> None:
    """The code comes back by the browser or is pasted; the endpoints are given or found."""
    async with IdentityService() as service:
        auth = table(service, discovers=discovers)
        async with provider(tmp_path, service.url, auth, client_id="public") as berlin:
            await berlin.log_in(Browser(pastes=pastes))
            assert (await berlin.ask("Hello")).text == "good"
            # The refresh token rotates, without a person.
            service.expire_all()
            assert (await berlin.ask("Hello")).text == "good"
    assert service.violations == []
    assert service.kinds == ["authorization_code", "refresh_token"]


async def test_parameters_of_the_page(tmp_path: Path) -> None:
    """Resources and further parameters go to the page and to the token endpoint."""
    async with IdentityService() as service:
        auth = table(service) + 'resource = ["https://a.example", "https://b.example"]\n'
        auth += '[auth.authorize_parameters]\nprompt = "login"\n'
        browser = Browser()
        async with provider(tmp_path, service.url, auth, client_id="public") as berlin:
            await berlin.log_in(browser)
    assert browser.opened[0]["resource"] == ["https://a.example", "https://b.example"]
    assert browser.opened[0]["prompt"] == ["login"]
    assert b"resource=https%3A%2F%2Fa.example&resource=" in service.at("/token")[0].body


def changed(**members: str) -> Any:
    """Return what changes members of the redirect."""
    return lambda answer: {**answer, **members}


def without(name: str, **members: str) -> Any:
    """Return what takes a member out of the redirect, and adds others."""
    return lambda answer: {**{k: v for k, v in answer.items() if k != name}, **members}


@pytest.mark.parametrize(
    ("tamper", "error", "says"),
    [
        (changed(iss="https://evil.example"), errors.ProtocolError, "comes from https://evil"),
        (without("iss"), errors.ProtocolError, "does not say that it comes from"),
        (without("code"), errors.ProtocolError, "without a code"),
        (without("code", error="access_denied"), errors.AuthenticationError, "access was refused"),
        (without("code", error="server_error"), errors.AuthenticationError, "failed in the bro"),
        (changed(code="code-of-another"), errors.AuthenticationError, "refuses"),
        (changed(state="of-another-login"), errors.AuthenticationError, "its state is another"),
    ],
)
async def test_what_comes_back_is_checked(
    tamper: Any, error: type[Exception], says: str, tmp_path: Path
) -> None:
    """State, issuer (RFC 9207) and errors of the redirect are checked before a code is used."""
    async with IdentityService() as service:
        service.tamper = tamper
        auth = table(service, discovers=True)
        async with provider(tmp_path, service.url, auth, client_id="public") as berlin:
            with pytest.raises(error, match=says):
                await berlin.log_in(Browser(pastes=True))
    used = [seen.form["code"] for seen in service.at("/token")]
    assert used in ([], ["code-of-another"])


@pytest.mark.parametrize(
    "claims", [{"nonce": "of-another"}, {"iss": "https://evil.example"}, {"aud": "another"}]
)
async def test_identity_of_another_login(claims: dict[str, str], tmp_path: Path) -> None:
    """An identity token with another nonce, issuer or client ends the login (code injection)."""
    async with IdentityService() as service:
        service.id_token = claims
        auth = table(service, discovers=True)
        async with provider(tmp_path, service.url, auth, client_id="public") as berlin:
            with pytest.raises(errors.ProtocolError, match="the identity token"):
                await berlin.log_in(Browser())


class Intruder(Browser):
    """Another program of this machine comes to the open port first."""

    async def open_page(self, url: str, back: str) -> str | None:
        """Try to end the login with a code of its own, then let the person log in."""
        root = back.removesuffix(urlsplit(back).path)
        async with aiohttp.ClientSession() as session:
            for wrong in (f"{back}?code=stolen&state=guess", f"{root}/?code=x", f"{back}?error=x"):
                async with session.get(wrong) as answer:
                    assert answer.status == 404
            async with session.post(f"{back}?code=x") as answer:
                assert answer.status == 404
        state = parse_qs(urlsplit(url).query)["state"][0].encode()
        path = urlsplit(back).path.encode()
        twice = b"GET %b?state=%b&code=a&code=b HTTP/1.1" % (path, state)
        for head in (
            b"GET /" + b"x" * 100_000,
            b"GET //evil[::%b?state=%b HTTP/1.1" % (path, state),
            b"GET %b?%b HTTP/1.1" % (path, b"&".join(b"a%d=1" % n for n in range(100))),
            b"HEAD %b?state=%b&code=x HTTP/1.1" % (path, state),
            b"GET http://evil.example%b?state=%b&code=x HTTP/1.1" % (path, state),
            b"GET %b/?state=%b&code=x HTTP/1.1" % (path, state),
            twice,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(back).port)
            with suppress(ConnectionError):
                writer.write(head + b"\r\n\r\n")
                said = await reader.read(12)
                assert said in (b"", b"HTTP/1.1 404"), head
            writer.close()
        return await super().open_page(url, back)


PASTED: dict[str, Any] = {
    "with quotes": lambda url: f"'{url}'\n",
    "its query": lambda url: url.partition("?")[2],
    "with another code": lambda url: f"{url}&code=stolen",
    "with another state": lambda url: f"{url}&state=guess",
    "with another issuer": lambda url: f"{url}&iss=https://evil.example",
    "with too much": lambda url: f"{url}&{'&'.join(f'a{n}=1' for n in range(100))}",
    "no address": lambda url: "http://[::/callback?code=x",
    "as a fragment": lambda url: url.replace("?", "#"),
    "nothing": lambda url: "",
}


@pytest.mark.parametrize("how", PASTED)
async def test_what_is_pasted(how: str, tmp_path: Path) -> None:
    """Quotes and a bare query are understood; what is ambiguous or no address ends the login."""

    class Pastes(Browser):
        async def open_page(self, url: str, back: str) -> str | None:
            pasted = await super().open_page(url, back)
            assert pasted is not None
            return str(PASTED[how](pasted))

    async with (
        IdentityService() as service,
        provider(tmp_path, service.url, table(service), client_id="public") as berlin,
    ):
        if how in ("with quotes", "its query"):
            await berlin.log_in(Pastes(pastes=True))
        else:
            with pytest.raises((errors.ProtocolError, errors.AuthenticationError)):
                await berlin.log_in(Pastes(pastes=True))
            assert service.at("/token") == []


async def test_open_loopback_port(tmp_path: Path) -> None:
    """Requests without this login's state get a 404 and end nothing."""
    async with (
        IdentityService() as service,
        provider(tmp_path, service.url, table(service), client_id="public") as berlin,
    ):
        await berlin.log_in(Intruder())
        assert (await berlin.ask("Hello")).text == "good"
    assert service.violations == []


async def test_a_chat_never_opens_a_browser(tmp_path: Path) -> None:
    """A chat without a login says which command to run, and asks nobody."""
    async with IdentityService() as service:
        async with provider(tmp_path, service.url, table(service), client_id="public") as berlin:
            with pytest.raises(errors.MissingCredentialsError, match="run `berlin login tested`"):
                await berlin.ask("Hello")
        assert service.seen == []


async def test_a_refused_refresh_token_is_used_once(tmp_path: Path) -> None:
    """A session that the administrator ended is asked for once; the message names the command."""
    async with (
        IdentityService() as service,
        provider(tmp_path, service.url, table(service), client_id="public") as berlin,
    ):
        await berlin.log_in(Browser())
        service.expire_all()
        service.refreshes.clear()
        for _ in range(3):
            with pytest.raises(errors.AuthenticationError, match="run `berlin login tested`"):
                await berlin.ask("Hello")
        await berlin.log_in(Browser())
        assert (await berlin.ask("Hello")).text == "good"
    assert service.kinds.count("refresh_token") == 1


async def test_a_redirect_to_another_origin(tmp_path: Path) -> None:
    """A token endpoint that redirects elsewhere is not followed: no code goes there."""
    async with (
        IdentityService() as service,
        FlowService() as evil,
        provider(tmp_path, service.url, table(service), client_id="public") as berlin,
    ):
        service.answers["/token"] = [reply(None, 307, ("Location", f"{evil.url}/token"))]
        with pytest.raises(errors.BerlinError, match="redirect"):
            await berlin.log_in(Browser())
        assert evil.seen == []


async def test_port_in_use(tmp_path: Path) -> None:
    """A redirect_port that another program has is named."""
    taken = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    async with taken, IdentityService() as service:
        auth = f"{table(service)}redirect_port = {port}\n"
        async with provider(tmp_path, service.url, auth, client_id="public") as berlin:
            with pytest.raises(errors.ConfigurationError, match=f"127.0.0.1:{port}.*redirect_port"):
                await berlin.log_in(Browser())


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"issuer": "https://evil.example", "token_endpoint": "/t"}, "are those of 'https://evil"),
        ({"issuer": 7}, "Expected `str`"),
        ([], "Expected `object`"),
        ("<html>", "Expected `object`"),
    ],
)
async def test_metadata_that_cannot_be_trusted(metadata: object, says: str, tmp_path: Path) -> None:
    """Metadata of another issuer, or that are none, are not used (RFC 8414, 3.3)."""
    async with FlowService() as service:
        service.answers["/.well-known/openid-configuration"] = [reply(metadata)]
        async with provider(tmp_path, service.url, found_by(service), **CLIENT) as berlin:
            with pytest.raises(errors.ProtocolError, match=says):
                await berlin.ask("Hello")
    assert service.at("/token") == []


async def test_no_metadata(tmp_path: Path) -> None:
    """An issuer that publishes nothing says what to give instead."""
    async with (
        FlowService() as service,
        provider(tmp_path, service.url, found_by(service), **CLIENT) as berlin,
    ):
        with pytest.raises(errors.ConfigurationError, match="publishes no metadata"):
            await berlin.ask("Hello")
