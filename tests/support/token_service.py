"""A chat service that is strict about tokens: it counts logins, lets tokens expire, rotates refresh
tokens, and ends everything when one is used twice.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from pathlib import Path
from secrets import token_hex
from typing import Any, Self

import msgspec
from aiohttp import web

from berlin.auth.credentials import Credentials
from berlin.auth.tokens.shared import SharedTokens
from berlin.auth.tokens.store import TokenKey, TokenStore
from berlin.client import Berlin
from berlin.config import Overrides, Settings, load_config, resolve_settings
from support.playing import running

RECIPE = """
schema = 1
name = "strict"
description = "The strict service of the tests"

[endpoint]
url = "http://127.0.0.1:1"

[auth]
flow = "login"
attach = { header = "token" }

[[auth.steps]]
path = "/api/login"
json = { account = "{account}", password = "{password}" }
take = { token = "/data/token", expires_in = "/data/expires_in", refresh_token = "/data/refresh" }

[[auth.refresh]]
path = "/api/refresh"
json = { refresh = "{refresh_token}" }
take = { token = "/data/token", expires_in = "/data/expires_in", refresh_token = "/data/refresh" }

[chat]
path = "/api/chat"
json = { prompt = "{prompt}" }

[chat.stream]
framing = "ndjson"
text = "/content"
error_code = "/code"
error_message = "/message"

[models]
default = "strict"
"""


class TokenService:
    """The service; use it with `async with`.

    Args:
        lifetime: seconds that a token is good for; `None` is for ever.
        rotate: give a refresh token, a new one each time.
        login_takes: seconds that a login takes.

    Attributes:
        url: the base URL.
        logins: when each login began.
        refreshes: when each refresh came.
        chats: how many chats were answered.
        busy: how the next requests for a token are refused: a status, and seconds in `Retry-After`.
        violations: what must never happen: a token used by another account, a refresh token
            used twice.
    """

    def __init__(
        self, lifetime: float | None = None, *, rotate: bool = False, login_takes: float = 0.0
    ) -> None:
        self.lifetime = lifetime
        self.rotate = rotate
        self.login_takes = login_takes
        self.url = ""
        self.logins: list[float] = []
        self.refreshes: list[float] = []
        self.chats = 0
        self.busy: list[tuple[int, str]] = []
        self.violations: list[str] = []
        self.refuse_logins = False
        self._numbers = itertools.count(1)
        self._tokens: dict[str, tuple[str, float]] = {}
        self._refresh: dict[str, str] = {}
        self._spent: set[str] = set()

    async def __aenter__(self) -> Self:
        app = web.Application()
        # Ports are used again, and tokens are kept by URL: no two services have the same.
        prefix = f"/service-{token_hex(6)}"
        app.router.add_post(f"{prefix}/api/login", self._login)
        app.router.add_post(f"{prefix}/api/refresh", self._renew)
        app.router.add_post(f"{prefix}/api/chat", self._chat)
        self._running = running(app)
        self.url = await self._running.__aenter__() + prefix
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._running.__aexit__(None, None, None)

    def expire_all(self) -> None:
        """Make every token bad."""
        self._tokens.clear()

    def _issue(self, account: str) -> web.Response:
        number = next(self._numbers)
        token = f"token-{number}-of-{account}"
        until = float("inf") if self.lifetime is None else time.monotonic() + self.lifetime
        self._tokens[token] = (account, until)
        data: dict[str, object] = {"token": token}
        if self.lifetime is not None:
            data["expires_in"] = self.lifetime
        if self.rotate:
            data["refresh"] = f"refresh-{number}"
            self._refresh[f"refresh-{number}"] = account
        return web.json_response({"data": data})

    async def _login(self, request: web.Request) -> web.Response:
        self.logins.append(time.monotonic())
        body = await request.json()
        await asyncio.sleep(self.login_takes)
        if self.busy:
            return self._is_busy()
        if self.refuse_logins or body["password"] != f"password of {body['account']}":
            return web.json_response({"message": "wrong password"}, status=401)
        return self._issue(body["account"])

    def _is_busy(self) -> web.Response:
        status, seconds = self.busy.pop(0)
        headers = {"Retry-After": seconds} if seconds else {}
        return web.json_response({"message": "busy"}, status=status, headers=headers)

    async def _renew(self, request: web.Request) -> web.Response:
        self.refreshes.append(time.monotonic())
        refresh = (await request.json())["refresh"]
        if self.busy:
            await asyncio.sleep(self.login_takes)
            return self._is_busy()
        if refresh in self._spent:
            self.violations.append(f"{refresh} was used twice")
            self._tokens.clear()
            self._refresh.clear()
        account = self._refresh.pop(refresh, None)
        if account is None:
            return web.json_response({"message": "bad refresh token"}, status=401)
        self._spent.add(refresh)
        await asyncio.sleep(self.login_takes)
        return self._issue(account)

    async def _chat(self, request: web.Request) -> web.Response:
        prompt = (await request.json())["prompt"]
        account, until = self._tokens.get(request.headers.get("token", ""), ("", 0.0))
        if until <= time.monotonic():
            return web.json_response({"code": 401, "message": "expired"}, status=401)
        # The prompt says who asks, so a crossed token shows.
        if prompt != account:
            self.violations.append(f"the token of {account} was used by {prompt}")
        self.chats += 1
        return web.Response(text=json.dumps({"content": account}) + "\n")


def strict_settings(folder: Path, url: str, account: str = "ann") -> Settings:
    """Return the settings of a provider for a `TokenService`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "berlin.toml"
    (folder / "strict.toml").write_text(RECIPE)
    config.write_text('[providers.strict]\nrecipe = "strict.toml"\n')
    for file in (config, folder / "strict.toml"):
        file.chmod(0o600)  # whatever the umask is
    given = Overrides(url=url, account=account, password=f"password of {account}")
    environ = {"BERLIN_CONFIG": str(config)}
    return resolve_settings("strict", load_config(config), given, environ)


def opened_with(
    folder: Path, service: TokenService, store: TokenStore, account: str = "ann", **more: Any
) -> Berlin:
    """Return a provider that shares nothing with others of this process but the store."""
    settings = strict_settings(folder, service.url, account)
    tokens = SharedTokens(store, **more)
    return Berlin.from_settings(msgspec.structs.replace(settings, tokens=tokens))


def key_of(service: TokenService, account: str = "ann") -> TokenKey:
    """Return what the token of an account belongs to."""
    who = Credentials.of(account, f"password of {account}")
    return TokenKey("strict", service.url, account, who.fingerprint())
