"""HTTP services for the flows: one that answers what a test scripts, and one that is strict about
OAuth 2; with the settings of a provider that is described by a recipe.

    async with FlowService() as service:
        service.answers["/login"] = [reply({"token": "t1"})]
        async with provider(tmp_path, service.url, AUTH, account="ann", password="p") as berlin:
            await berlin.ask("Hello")
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, Self, TypeAlias
from urllib.parse import parse_qsl, unquote_plus

from aiohttp import web

from berlin.client import Berlin
from berlin.config import Settings
from support.described import settings_of, write_provider
from support.playing import playing

CHAT = """
[chat]
path = "/chat"
json = { prompt = "{prompt}" }

[chat.stream]
framing = "ndjson"
text = "/content"
error_code = "/code"
error_message = "/message"

[models]
default = "tested"
"""
HEAD = """schema = 1
name = "tested"
description = "A service of the tests"

[endpoint]
url = "http://127.0.0.1:1"

"""


@dataclass(frozen=True)
class Seen:
    """A request that a service got."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        """The body as a form."""
        assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True))


@dataclass(frozen=True)
class Reply:
    """An answer of a service."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = field(default=())


Script: TypeAlias = Reply | Callable[[Seen], Reply]


def reply(document: object = None, status: int = 200, *headers: tuple[str, str]) -> Reply:
    """Return an answer: JSON, or bytes and text as they are."""
    match document:
        case None:
            body = b""
        case bytes():
            body = document
        case str():
            body = document.encode()
        case _:
            body = json.dumps(document).encode()
    return Reply(status, body, headers)


GOOD = reply({"content": "good"})


class FlowService:
    """Answers each path with its queue of scripted answers; the last of them stays.

    Attributes:
        url: the base URL.
        answers: the answers by path.
        seen: all requests, in order.
    """

    def __init__(self) -> None:
        self.url = ""
        # Ports are used again, and tokens are kept by URL: no two services have the same.
        self._prefix = f"/service-{token_hex(6)}"
        self.answers: dict[str, list[Script]] = {"/chat": [GOOD]}
        self.seen: list[Seen] = []

    async def __aenter__(self) -> Self:
        self._playing = playing(self._serve)
        self.url = await self._playing.__aenter__() + self._prefix
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._playing.__aexit__(None, None, None)

    def at(self, path: str) -> list[Seen]:
        """Return the requests to one path."""
        return [seen for seen in self.seen if seen.path == path]

    @property
    def paths(self) -> list[str]:
        """The paths that were asked for, in order."""
        return [seen.path for seen in self.seen]

    async def _serve(self, request: web.Request) -> web.Response:
        seen = Seen(
            request.method,
            request.path.removeprefix(self._prefix),
            dict(request.query),
            request.headers.copy(),
            dict(request.cookies),
            await request.read(),
        )
        self.seen.append(seen)
        queue = self.answers.get(seen.path)
        if not queue:
            return web.json_response({"message": f"no {seen.path} here"}, status=404)
        script = queue.pop(0) if len(queue) > 1 else queue[0]
        answer = script(seen) if callable(script) else script
        response = web.Response(status=answer.status, body=answer.body)
        for name, value in answer.headers:
            response.headers.add(name, value)
        return response


class OAuthService(FlowService):
    """A token endpoint at `/token` that is strict about RFC 6749, and a chat for its tokens.

    Args:
        rotate: give a refresh token with each answer, and end everything if one is used twice.
        refresh: give a refresh token, always the same.
        lifetime: `expires_in` of the tokens.

    Attributes:
        clients: the secrets of the clients by their ids.
        accounts: the passwords of the accounts.
        refreshes: the refresh tokens that are good.
        violations: what must never happen.
    """

    def __init__(
        self, *, rotate: bool = False, refresh: bool = False, lifetime: float | None = None
    ) -> None:
        super().__init__()
        self.clients = {"client": "secret"}
        self.accounts = {"ann": "password"}
        self.refreshes: set[str] = set()
        self.violations: list[str] = []
        self.kinds: list[str] = []
        self._rotate, self._refresh, self.lifetime = rotate, refresh, lifetime
        self._spent: set[str] = set()
        self._good: set[str] = set()
        self._numbers = itertools.count(1)
        self.answers["/token"] = [self._token]
        self.answers["/chat"] = [self._chat]

    def expire_all(self) -> None:
        """Make every access token bad."""
        self._good.clear()

    def issue(self, refresh_token: str | None = None) -> Reply:
        """Answer with a token."""
        number = next(self._numbers)
        document: dict[str, Any] = {"access_token": f"access-{number}", "token_type": "Bearer"}
        self._good.add(f"access-{number}")
        if self.lifetime is not None:
            document["expires_in"] = self.lifetime
        if self._rotate or (self._refresh and refresh_token is None):
            document["refresh_token"] = f"refresh-{number}"
            self.refreshes.add(f"refresh-{number}")
        return reply(document)

    def _token(self, seen: Seen) -> Reply:
        form = seen.form
        self.kinds.append(form.get("grant_type", ""))
        if not self._knows_client(seen):
            return reply({"error": "invalid_client"}, 401)
        match form.get("grant_type"):
            case "client_credentials":
                return self.issue()
            case "password" if self.accounts.get(form["username"]) == form["password"]:
                return self.issue()
            case "refresh_token":
                return self._renew(form["refresh_token"])
            case "password":
                return reply({"error": "invalid_grant", "error_description": "wrong"}, 400)
        return reply({"error": "unsupported_grant_type"}, 400)

    def _knows_client(self, seen: Seen) -> bool:
        header = seen.headers.get("Authorization", "")
        if header.startswith("Basic "):
            pair = base64.b64decode(header.removeprefix("Basic "), validate=True).decode("ascii")
            name, _, secret = (unquote_plus(part) for part in pair.partition(":"))
            if "client_secret" in seen.form:
                self.violations.append("two kinds of client authentication (RFC 6749, 2.3)")
        else:
            name, secret = seen.form.get("client_id", ""), seen.form.get("client_secret", "")
        return self.clients.get(name) == secret if name else True

    def _renew(self, refresh_token: str) -> Reply:
        if refresh_token in self._spent:
            self.violations.append(f"{refresh_token} was used twice")
            self.refreshes.clear()
            self._good.clear()
        if refresh_token not in self.refreshes:
            return reply({"error": "invalid_grant"}, 400)
        if self._rotate:
            self.refreshes.discard(refresh_token)
            self._spent.add(refresh_token)
        return self.issue(refresh_token)

    def _chat(self, seen: Seen) -> Reply:
        token = seen.headers.get("Authorization", "").removeprefix("Bearer ")
        return GOOD if token in self._good else reply({"code": 401, "message": "expired"}, 401)


def write_recipe(folder: Path, auth: str, *, chat: str = CHAT, **more: object) -> Path:
    """Write a recipe with this table `[auth]`; see `write_provider`."""
    return write_provider(folder, HEAD + auth + chat, **more)


def settings(folder: Path, url: str, auth: str, *, chat: str = CHAT, **more: Any) -> Settings:
    """Return the settings of a provider for this table `[auth]`; see `settings_of`."""
    return settings_of(folder, HEAD + auth + chat, url, **more)


@asynccontextmanager
async def provider(folder: Path, url: str, auth: str, **more: Any) -> AsyncIterator[Berlin]:
    """Open a provider for this table `[auth]`; see `settings`."""
    async with Berlin.from_settings(settings(folder, url, auth, **more)) as berlin:
        yield berlin
