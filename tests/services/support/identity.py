"""An OpenID provider that other people wrote (node-oidc-provider), and a person who uses it."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
from jwt.algorithms import RSAAlgorithm

from berlin.auth.contract import DeviceCode
from support.identity_service import make_key

from .programs import NODE, SERVICES, service

PROGRAM = SERVICES / "clients" / "node" / "identity-provider.mjs"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
MAX_PAGES = 12


@dataclass(frozen=True)
class Identity:
    """The provider.

    Attributes:
        url: its issuer.
        key: the file with the private key of the client `robot`.
    """

    url: str
    key: Path

    async def describe(self, token: str) -> dict[str, Any]:
        """Ask the provider what a token is good for (RFC 7662)."""
        proof = base64.b64encode(b"prober:secret").decode()
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{self.url}/token/introspection",
                data={"token": token},
                headers={"Authorization": f"Basic {proof}"},
            ) as answer,
        ):
            found: dict[str, Any] = await answer.json()
            return found


class PersonWithForms:
    """A person who fills in the provider's forms, over HTTP and without a browser.

    Attributes:
        logins: how often the form for the login was filled in.
        device: the page of the device code, as it is being used.
    """

    def __init__(self) -> None:
        self.logins = 0
        self.device: asyncio.Task[str | None] | None = None

    def show_code(self, code: DeviceCode) -> None:
        """Go to the page, and type the code there."""
        self.device = asyncio.create_task(self._fill_in(code.url, "\0", user_code=code.code))

    async def open_page(self, url: str, back: str) -> str | None:
        """Log in, agree, and follow the redirect to this machine."""
        await self._fill_in(url, back)
        return None

    async def _fill_in(self, url: str, back: str, **typed: str) -> str | None:
        """Return the last page, or `None` if it went back to this machine."""
        typed |= {"login": "ann", "password": "any"}
        sent: dict[str, str] | None = None
        jar = aiohttp.CookieJar(unsafe=True)  # cookies of an IP address
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            for _ in range(MAX_PAGES):
                method = "GET" if sent is None else "POST"
                async with session.request(method, url, data=sent, allow_redirects=False) as answer:
                    page = await answer.text()
                    went_to = answer.headers.get("Location")
                if url.startswith(back):
                    return None
                sent = None
                if went_to is not None:
                    url = urljoin(url, went_to)
                    continue
                form = re.search(r"<form[^>]* action=\"([^\"]*)\"[^>]*>(.*?)</form>", page, re.S)
                if form is None:
                    return page
                url = urljoin(url, unescape(form[1]))
                sent = _inputs(form[2]) | {k: v for k, v in typed.items() if f'"{k}"' in form[2]}
                self.logins += "login" in sent
        raise AssertionError(f"still not done after {MAX_PAGES} pages: {url}")


def _inputs(form: str) -> dict[str, str]:
    found = {}
    for tag in re.findall(r"<input[^>]*>", form):
        members = {name: unescape(value) for name, value in re.findall(r'(\w+)="([^"]*)"', tag)}
        if "name" in members:
            found[members["name"]] = members.get("value", "")
    return found


@asynccontextmanager
async def identity_provider(home: Path) -> AsyncIterator[Identity]:
    """Run the provider for the block."""
    pem, public = make_key()
    key = home / "key.pem"
    key.write_text(pem)
    key.chmod(0o600)
    jwk = {**json.loads(RSAAlgorithm.to_jwk(public)), "kid": "k1", "use": "sig"}
    clients = [
        {
            "client_id": "program",
            "application_type": "native",
            "token_endpoint_auth_method": "none",
            "redirect_uris": ["http://127.0.0.1/callback"],
            "grant_types": ["authorization_code", "refresh_token", DEVICE],
        },
        {
            "client_id": "robot",
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": [jwk]},
            "redirect_uris": [],
            "response_types": [],
            "grant_types": ["client_credentials"],
        },
        {
            "client_id": "prober",
            "client_secret": "secret",
            "redirect_uris": [],
            "response_types": [],
            "grant_types": ["client_credentials"],
        },
    ]
    file = home / "clients.json"
    file.write_text(json.dumps(clients))
    async with service(home, PROGRAM, file, program=NODE) as url:
        yield Identity(url, key)
