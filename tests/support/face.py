"""The Berlin face over real HTTP, as a client meets it that is not ours."""

from __future__ import annotations

import copy
import functools
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from berlin.gateway.access.accounts import Accounts
from berlin.gateway.chat import Gateway
from berlin.gateway.serving.server import open_server
from berlin.providers.contract import Provider
from berlin.types import Secret

LOGIN, CHAT = "/api/login", "/api/chat/completions"
PASSWORDS = {"alice": "pass-of-alice", "bob": "pass-of-bob"}


@functools.cache
def _made() -> Accounts:
    known = Accounts()
    for name, password in PASSWORDS.items():
        known.add(name, Secret(password))
    return known


def accounts() -> Accounts:
    """Return the accounts of alice and bob; a test may change them."""
    return copy.deepcopy(_made())


def body(prompt: Any = "Hi", **options: Any) -> dict[str, Any]:
    """Return a good request, as the recipe describes it."""
    return {
        "prompt": prompt,
        "parentMessageId": "00000000-0000-4000-8000-000000000000",
        "options": {"model": "m", **options},
    }


@dataclass
class Face:
    """A client's side of the service."""

    url: str
    session: aiohttp.ClientSession

    async def login(self, account: str = "alice", password: str | None = None) -> str:
        """Return a token."""
        given = {"account": account, "password": password or PASSWORDS[account]}
        async with self.session.post(self.url + LOGIN, json=given) as answer:
            assert answer.status == 200
            return str((await answer.json())["data"]["token"])

    async def post(
        self, path: str, data: bytes | dict[str, Any], token: str | None = None
    ) -> tuple[int, dict[str, Any], aiohttp.ClientResponse]:
        """Post a body, and return status, JSON and the answer."""
        sent = data if isinstance(data, bytes) else json.dumps(data).encode()
        headers = {} if token is None else {"token": token}
        async with self.session.post(
            self.url + path, data=io.BytesIO(sent), headers=headers
        ) as answer:
            assert answer.content_type == "application/json"
            return answer.status, json.loads(await answer.read()), answer

    async def chat(self, **options: Any) -> tuple[int, list[dict[str, Any]]]:
        """Ask, and return the status and the lines of the answer."""
        headers = {"token": await self.login()}
        async with self.session.post(
            self.url + CHAT, json=body(**options), headers=headers
        ) as answer:
            lines = (await answer.read()).split(b"\n")
            return answer.status, [json.loads(line) for line in lines if line]


@asynccontextmanager
async def open_face(provider: Provider, **options: float) -> AsyncIterator[Face]:
    """Serve a provider, and give a client of it."""
    async with (
        open_server(Gateway.of(provider), accounts(), grace_s=0, **options) as url,
        aiohttp.ClientSession() as session,
    ):
        yield Face(url, session)
