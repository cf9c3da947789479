"""Flows against a real service: keys, basic authentication, programs, envelopes, mistakes."""

from __future__ import annotations

import base64
import json
import logging
import traceback
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from berlin import Berlin, errors
from support.described import LOGIN
from support.oauth_service import (
    FlowService,
    Reply,
    Seen,
    provider,
    reply,
    settings,
)

KEY = "sk-tell+no/one=="
IN_HEADER = '[auth]\nflow = "api-key"\nattach = { header = "X-Key" }\n'
IN_QUERY = '[auth]\nflow = "api-key"\nattach = { query = "key" }\n'
BASIC = '[auth]\nflow = "basic"\n'


def key_seen(seen: Seen) -> dict[str, str | None]:
    """Return where a request could carry a key."""
    return {
        "Authorization": seen.headers.get("Authorization"),
        "X-Key": seen.headers.get("X-Key"),
        "key": seen.query.get("key"),
        "sid": seen.cookies.get("sid"),
    }


@pytest.mark.parametrize(
    ("attach", "place", "value"),
    [
        ("", "Authorization", f"Bearer {KEY}"),
        ('attach = { header = "X-Key" }', "X-Key", KEY),
        ('attach = { header = "X-Key", prefix = "Key " }', "X-Key", f"Key {KEY}"),
        ('attach = { query = "key" }', "key", KEY),
        ('attach = { query = "key", prefix = "p&" }', "key", f"p&{KEY}"),
        ('attach = { cookie = "sid" }', "sid", KEY),
    ],
)
async def test_api_key(attach: str, place: str, value: str, tmp_path: Path) -> None:
    """An API key goes to the one place that the recipe names, and nowhere else."""
    auth = f'[auth]\nflow = "api-key"\n{attach}\n'
    async with FlowService() as service:
        async with provider(tmp_path, service.url, auth, api_key=KEY) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
        assert service.paths == ["/chat"]
    found = key_seen(service.seen[0])
    assert found.pop(place) == value
    assert set(found.values()) == {None}


def echo(seen: Seen) -> Reply:
    """Refuse a request, and repeat all that could hold its key."""
    where = f"{seen.path}?{'&'.join(f'{n}={quote_plus(v)}' for n, v in seen.query.items())}"
    found = " ".join(str(value) for value in key_seen(seen).values())
    return reply({"message": f"bad: {where} {found}"}, 400)


def echo_401(seen: Seen) -> Reply:
    return reply(json.loads(echo(seen).body), 401)


@pytest.mark.parametrize("script", [echo, echo_401])
@pytest.mark.parametrize("auth", [IN_HEADER, IN_QUERY])
async def test_api_key_is_not_told(
    auth: str, script: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No error, repr or log line shows a key, not even one that stood in the URL."""
    caplog.set_level(logging.DEBUG)
    async with FlowService() as service:
        service.answers["/chat"] = [script]
        async with provider(tmp_path, service.url, auth, api_key=KEY) as berlin:
            with pytest.raises(errors.BerlinError, match="bad: /chat") as caught:
                await berlin.ask("Hello")
            shown = f"{berlin!r} {vars(berlin)} {berlin!s}"
    shown += "".join(traceback.format_exception(caught.value)) + caplog.text
    for text in (KEY, quote(KEY), quote_plus(KEY), quote(KEY, safe="")):
        assert text not in shown


async def test_api_key_in_the_url_is_not_told_when_nobody_answers(tmp_path: Path) -> None:
    """An error of the connection does not show the URL's key either."""
    async with FlowService() as service:
        url = service.url
    async with provider(tmp_path, url, IN_QUERY, api_key=KEY) as berlin:
        with pytest.raises(errors.ConnectError) as caught:
            await berlin.ask("Hello")
    shown = "".join(traceback.format_exception(caught.value))
    assert "sk-tell" not in shown


async def test_api_key_refused(tmp_path: Path) -> None:
    """A key that the service refuses is refused for good: it is not sent a second time."""
    async with FlowService() as service:
        service.answers["/chat"] = [reply({"message": "no such key"}, 401)]
        async with provider(tmp_path, service.url, IN_HEADER, api_key=KEY) as berlin:
            with pytest.raises(errors.AuthenticationError, match="no such key"):
                await berlin.ask("Hello")
        assert service.paths == ["/chat"]


async def test_api_key_missing(tmp_path: Path) -> None:
    """Without a key nothing is sent, and the error names the ways to give one."""
    async with FlowService() as service:
        async with provider(tmp_path, service.url, IN_HEADER) as berlin:
            with pytest.raises(errors.MissingCredentialsError) as caught:
                await berlin.ask("Hello")
        assert service.seen == []
    assert caught.value.message.startswith("there is no API key to log in with.")
    assert "(api_key=…)" in caught.value.message
    assert "BERLIN_API_KEY" not in caught.value.message  # it is for the provider `berlin`


@pytest.mark.parametrize("auth", [IN_HEADER, BASIC])
async def test_what_is_never_issued_is_not_stored(auth: str, tmp_path: Path) -> None:
    """A key or a password is no token: neither is put into the token store."""
    environ = {"BERLIN_TOKEN_STORE": "file"}
    given = {"api_key": KEY} if auth is IN_HEADER else {"account": "ann", "password": "hunter2"}
    async with (
        FlowService() as service,
        provider(tmp_path, service.url, auth, environ=environ, **given) as berlin,
    ):
        await berlin.ask("Hello")
    folder = tmp_path / "data" / "berlin" / "tokens"
    stored = b"".join(path.read_bytes() for path in folder.glob("*.json"))
    assert KEY.encode() not in stored
    assert base64.b64encode(b"ann:hunter2") not in stored


async def test_basic(tmp_path: Path) -> None:
    """Account and password go with each request as RFC 7617 says, in UTF-8."""
    async with FlowService() as service:
        async with provider(
            tmp_path, service.url, BASIC, account="ann", password="pass: wörd"
        ) as berlin:
            await berlin.ask("Hello")
            await berlin.ask("Hello")
        assert service.paths == ["/chat", "/chat"]
    kind, _, pair = service.seen[1].headers["Authorization"].partition(" ")
    assert (kind, base64.b64decode(pair).decode()) == ("Basic", "ann:pass: wörd")


@pytest.mark.parametrize("script", [echo, echo_401])
async def test_basic_is_not_told(script: object, tmp_path: Path) -> None:
    """What a service repeats of the header is masked: it is account and password in disguise."""
    async with FlowService() as service:
        service.answers["/chat"] = [script]
        async with provider(
            tmp_path, service.url, BASIC, account="ann", password="hunter2"
        ) as berlin:
            with pytest.raises(errors.BerlinError, match=r"Basic \*\*\*") as caught:
                await berlin.ask("Hello")
    shown = "".join(traceback.format_exception(caught.value))
    assert base64.b64encode(b"ann:hunter2").decode() not in shown


async def test_none(tmp_path: Path) -> None:
    """A service that asks for nothing gets nothing, also where credentials are configured."""
    async with (
        FlowService() as service,
        provider(tmp_path, service.url, '[auth]\nflow = "none"\n', api_key=KEY) as berlin,
    ):
        await berlin.ask("Hello")
    assert service.paths == ["/chat"]
    assert KEY not in str(service.seen)


STEPS = LOGIN.replace('attach = { header = "token" }\n', "")


def logs_in(service: FlowService) -> None:
    """Let a service give a new token with each login."""
    service.answers["/login"] = [
        lambda seen: reply({"token": f"t{len(service.at('/login'))}"}),
    ]


async def test_envelope_of_the_login(tmp_path: Path) -> None:
    """A refused password inside a 200 is a refused password, and is remembered."""
    async with FlowService() as service:
        service.answers["/login"] = [reply({"code": 401, "message": "wrong password"})]
        async with provider(tmp_path, service.url, STEPS, account="ann", password="p") as berlin:
            for _ in range(3):
                with pytest.raises(
                    errors.AuthenticationError, match="refuses account 'ann': wrong password"
                ):
                    await berlin.ask("Hello")
        assert service.paths == ["/login"]


async def test_status_that_is_not_listed(tmp_path: Path) -> None:
    """A 403 that the recipe does not list is a lack of permission, not a bad token."""
    async with FlowService() as service:
        logs_in(service)
        service.answers["/chat"] = [reply({"message": "not you"}, 403)]
        async with provider(tmp_path, service.url, STEPS, account="ann", password="p") as berlin:
            with pytest.raises(errors.PermissionDeniedError, match="not you"):
                await berlin.ask("Hello")
        assert service.paths == ["/login", "/chat"]


async def test_one_provider_repr(tmp_path: Path) -> None:
    """A provider with a key shows its URL only."""
    async with FlowService() as service:
        berlin = Berlin.from_settings(settings(tmp_path, service.url, IN_QUERY, api_key=KEY))
        assert repr(berlin) == f"Berlin('{service.url}')"
