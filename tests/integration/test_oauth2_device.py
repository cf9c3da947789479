"""OAuth 2 for devices (RFC 8628): a person enters a code elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import pytest

from berlin import errors
from berlin.auth.contract import DeviceCode
from berlin.auth.flows.oauth2.device import ask_for_code, wait_for_token
from berlin.auth.flows.oauth2.discovery import Endpoints, Server
from berlin.auth.flows.oauth2.endpoint import TokenClient
from berlin.auth.flows.oauth2.table import OAuth2Map
from berlin.types import HttpRequest, HttpResponse
from support.cli import Cli
from support.oauth_service import (
    CHAT,
    GOOD,
    FlowService,
    OAuthService,
    Reply,
    Seen,
    provider,
    reply,
    write_recipe,
)

DEVICE = (
    '[auth]\nflow = "oauth2"\ngrant = "device_code"\ntoken_url = "/token"\n'
    'device_url = "/device"\nscope = "chat"\n'
)
AUTHORIZED = {
    "device_code": "device-secret",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://login.example/device",
    "verification_uri_complete": "https://login.example/device?code=WDJB-MJHT",
    "expires_in": 600,
    "interval": 0,
}


class Nobody:
    """A person who does nothing."""

    def show_code(self, code: DeviceCode) -> None:
        """Look away."""

    async def open_page(self, url: str, back: str) -> str | None:
        """Open nothing."""
        return None


class Device:
    """A device flow whose time a test turns: it waits for nobody."""

    def __init__(self, *answers: tuple[int, object], **authorized: object) -> None:
        self._answers = list(answers)
        self._authorized = {**AUTHORIZED, **authorized}
        self.slept: list[float] = []
        self.asked: list[HttpRequest] = []
        self.described = OAuth2Map("device_code", token_url="/token", device_url="/device")

    async def send(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/device":
            return HttpResponse(200, body=json.dumps(self._authorized).encode())
        self.asked.append(request)
        status, document = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return HttpResponse(status, body=json.dumps(document).encode())

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def run(self) -> str:
        """Return the token."""
        who, where = {"client_id": "client"}, Endpoints("/token", "/device")
        client = TokenClient(Server(self.described), where, who, self.send)
        grant = await wait_for_token(client, await ask_for_code(client), self.sleep)
        return grant.token.reveal()


PENDING = (400, {"error": "authorization_pending"})
SLOW_DOWN = (400, {"error": "slow_down"})
DONE = (200, {"access_token": "t1", "token_type": "bearer"})


async def test_device_intervals() -> None:
    """The service is asked at its interval, and five seconds later after each `slow_down`."""
    device = Device(PENDING, SLOW_DOWN, PENDING, SLOW_DOWN, DONE, interval=3)
    assert await device.run() == "t1"
    assert device.slept == [3, 3, 8, 8, 13]
    body = device.asked[0].body.decode()
    assert "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code" in body
    assert "device_code=device-secret" in body
    assert "client_id=client" in body


async def test_device_without_an_interval() -> None:
    """Where the service names no interval it is five seconds (RFC 8628, 3.2)."""
    device = Device(PENDING, DONE)
    del device._authorized["interval"]
    assert await device.run() == "t1"
    assert device.slept == [5, 5]


async def test_device_answers_with_200() -> None:
    """A well-known service says that it waits with a 200: that is waited for as well."""
    device = Device((200, PENDING[1]), (200, SLOW_DOWN[1]), DONE, interval=1)
    assert await device.run() == "t1"
    assert device.slept == [1, 1, 6]


async def test_device_while_the_service_is_busy() -> None:
    """What fails while a person is on the way is asked again, at twice the interval."""
    busy = ((503, {}), (429, {"message": "slow"}), (400, {"error": "temporarily_unavailable"}))
    device = Device(*busy, SLOW_DOWN, DONE, interval=2)
    assert await device.run() == "t1"
    assert device.slept == [2, 4, 8, 16, 21]


async def test_device_when_the_connection_is_lost() -> None:
    """A connection that is lost or too slow does not end the login; one that nobody takes does."""
    device = Device(PENDING, DONE, interval=1)
    failures: list[errors.BerlinError] = [
        errors.ConnectionLostError("lost"),
        errors.UpstreamTimeoutError("slow"),
    ]
    send = device.send

    async def loses(request: HttpRequest) -> HttpResponse:
        if request.path == "/token" and failures:
            raise failures.pop()
        return await send(request)

    device.send = loses
    assert await device.run() == "t1"
    assert device.slept == [1, 2, 4, 4]


async def test_device_numbers_as_text() -> None:
    """Some services write numbers as text."""
    device = Device(PENDING, DONE, interval="3", expires_in="600")
    assert await device.run() == "t1"
    assert device.slept == [3, 3]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((400, {"error": "access_denied"}), "the access was refused in the browser"),
        ((400, {"error": "expired_token"}), "nobody entered the code in time"),
        ((400, {"error": "invalid_grant"}), "the service ends the login: invalid_grant"),
        ((401, {"error": "invalid_client"}), "the service ends the login: invalid_client"),
    ],
)
async def test_device_refused(answer: tuple[int, object], said: str) -> None:
    """A refusal ends the waiting, and says why."""
    device = Device(PENDING, answer)
    with pytest.raises(errors.AuthenticationError, match=f"^{said}"):
        await device.run()
    assert len(device.asked) == 2


async def test_device_never_entered() -> None:
    """The waiting ends when the code does."""
    device = Device(PENDING, interval=10, expires_in=35)
    with pytest.raises(errors.AuthenticationError, match="nobody entered the code in time"):
        await device.run()
    assert sum(device.slept) <= 40


@pytest.mark.parametrize(
    "document", [{}, {"device_code": 7}, [], {**AUTHORIZED, "expires_in": "x"}]
)
async def test_device_authorization_that_is_none(document: object, tmp_path: Path) -> None:
    """A device authorization that makes no sense is a typed error."""
    async with FlowService() as service:
        service.answers["/device"] = [reply(document)]
        async with provider(tmp_path, service.url, DEVICE, client_id="client") as berlin:
            with pytest.raises(errors.ProtocolError, match="the device authorization"):
                await berlin.log_in(Nobody())


async def test_device_errors_tell_no_secret(tmp_path: Path) -> None:
    """A token service that repeats the client's secret in its refusal is not quoted with it."""
    echo = reply({"error": "invalid_client", "error_description": "not so-secret-a-client"}, 401)
    client = {"client_id": "client", "client_secret": "so-secret-a-client"}
    async with FlowService() as service:
        service.answers["/device"] = [echo]
        async with provider(tmp_path, service.url, DEVICE, **client) as berlin:
            with pytest.raises(errors.AuthenticationError, match=r"not \*\*\*") as caught:
                await berlin.log_in(Nobody())
    assert caught.value.provider == "tested"


async def test_device_needs_a_person(tmp_path: Path) -> None:
    """A chat does not begin a device login by itself: it says what to run."""
    async with FlowService() as service:
        async with provider(tmp_path, service.url, DEVICE, client_id="client") as berlin:
            with pytest.raises(errors.MissingCredentialsError, match="run `berlin login tested`"):
                await berlin.ask("Hello")
        assert service.seen == []


async def _berlin(config: Path, *words: str) -> tuple[int | None, str, str]:
    """Run a command; return its exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "berlin", *words),
        env={**os.environ, "BERLIN_CONFIG": str(config)},
        stdin=DEVNULL, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_device_on_the_command_line(tmp_path: Path) -> None:
    """`berlin login` shows page and code and waits; `berlin chat` then has the token."""
    async with OAuthService(rotate=True) as service:
        service.clients["public"] = ""
        service.answers["/device"] = [reply(AUTHORIZED)]

        def done(seen: Seen) -> Reply:
            return service.issue()

        service.answers["/token"] = [reply(PENDING[1], 400), reply(PENDING[1], 400), done]
        config = write_recipe(tmp_path, DEVICE, url=service.url, client_id="public")
        code, out, err = await _berlin(config, "login", "tested")
        assert (code, out) == (0, f"Logged in to {service.url}.\n")
        assert err == (
            "Open https://login.example/device and enter the code WDJB-MJHT\n"
            "or open https://login.example/device?code=WDJB-MJHT\n"
        )
        assert await _berlin(config, "chat", "Hello") == (0, "good\n", "")
        assert service.paths == ["/device", "/token", "/token", "/token", "/chat"]
        assert service.seen[0].form == {"scope": "chat", "client_id": "public"}
        # Later the refresh token goes on without a person.
        service.expire_all()
        service.answers["/token"] = [
            lambda seen: service.issue() if seen.form["refresh_token"] == "refresh-1" else GOOD
        ]
        assert await _berlin(config, "chat", "Hello") == (0, "good\n", "")
    stored = "".join(p.read_text() for p in (tmp_path / "data").rglob("*.json"))
    assert re.findall(r"device-secret", stored) == []


async def test_device_refused_on_the_command_line(tmp_path: Path) -> None:
    """A person who refuses ends `berlin login` with the exit code of refused credentials."""
    async with FlowService() as service:
        service.answers |= {
            "/device": [reply(AUTHORIZED)],
            "/token": [reply({"error": "access_denied"}, 400)],
        }
        config = write_recipe(tmp_path, DEVICE, url=service.url, client_id="client")
        code, out, err = await _berlin(config, "login", "tested")
    assert (code, out) == (3, "")
    assert err.endswith("berlin: the access was refused in the browser\n")


async def test_device_login_of_an_add_that_is_stopped(tmp_path: Path) -> None:
    """A client id is asked for; Ctrl-C at the model deletes the tokens of the login before it."""
    cli = Cli(tmp_path)
    async with OAuthService() as service:
        service.clients["public"] = ""
        service.answers |= {"/device": [reply(AUTHORIZED)]}
        service.answers |= {"/token": [lambda seen: service.issue()]}
        write_recipe(tmp_path, DEVICE, chat=CHAT + 'list = ["tested", "b"]\n')
        recipe = str(tmp_path / "tested.toml")
        async with cli.terminal("add", recipe, "--url", service.url) as terminal:
            await terminal.fills("Client ID: ", "public")
            await terminal.sees("WDJB-MJHT")
            await terminal.sees("Model (number or name) [tested]: ")
            stored = await cli.run("tokens")
            assert service.seen[0].form["client_id"] == "public"
            terminal.types("\x03")
            assert await terminal.ends() == 130
    assert service.url in stored.out
    assert (await cli.run("tokens")).out == "No tokens are stored.\n"
