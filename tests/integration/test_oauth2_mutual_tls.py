"""A token endpoint with a certificate of one's own authority, a client certificate and a proxy."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import trustme
from aiohttp import web

from berlin.errors import TransportError
from support.forward_proxy import ForwardProxy
from support.oauth_service import provider
from support.playing import playing

AUTH = """
[auth]
flow = "oauth2"
grant = "client_credentials"
client_auth = "mtls"
issuer = "{}"
"""


class Identity:
    """An identity provider and its service, which know clients by their certificate.

    Attributes:
        url: its address.
        forms: the token requests, with the name in the client's certificate.
    """

    url = ""

    def __init__(self) -> None:
        self.forms: list[tuple[str, dict[str, list[str]]]] = []

    async def answer(self, request: web.Request) -> web.Response:
        if request.path.endswith("openid-configuration"):
            return web.json_response({"issuer": self.url, "token_endpoint": f"{self.url}/token"})
        if request.path == "/token":
            assert request.transport is not None
            shown: Any = request.transport.get_extra_info("peercert")
            name = dict(pair for names in shown["subject"] for pair in names)
            self.forms.append((name["organizationName"], parse_qs(await request.text())))
            return web.json_response({"access_token": "t1", "token_type": "bearer"})
        if request.path == "/chat":
            good = request.headers.get("Authorization") == "Bearer t1"
            return web.json_response({"content": "good"}, status=200 if good else 401)
        return web.Response(status=404)


@asynccontextmanager
async def identity(folder: Path) -> AsyncIterator[Identity]:
    """Run it; `ca.pem` and `client.pem` are in the folder."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    client = authority.issue_cert("client@example.org", organization_name="Berlin")
    client.private_key_and_cert_chain_pem.write_to_path(folder / "client.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    found = Identity()
    async with playing(found.answer, context) as found.url:
        yield found


async def test_a_client_known_by_its_certificate(tmp_path: Path) -> None:
    """Metadata, token and chat go through the proxy, with the certificate (RFC 8705, 2)."""
    files = {"ca_file": str(tmp_path / "ca.pem"), "client_cert": str(tmp_path / "client.pem")}
    async with ForwardProxy() as proxy, identity(tmp_path) as service:
        more = {**files, "proxy": proxy.url, "client_id": "app"}
        async with provider(tmp_path, service.url, AUTH.format(service.url), **more) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
        assert {line.split()[0] for line in proxy.requests} == {"CONNECT"}
    expected = {"grant_type": ["client_credentials"], "client_id": ["app"]}
    assert service.forms == [("Berlin", expected)]


async def test_without_the_certificate(tmp_path: Path) -> None:
    """Without it no token is requested, and the error is one of the connection."""
    async with identity(tmp_path) as service:
        more = {"ca_file": str(tmp_path / "ca.pem"), "client_id": "app"}
        async with provider(tmp_path, service.url, AUTH.format(service.url), **more) as berlin:
            with pytest.raises(TransportError):
                await berlin.ask("Hello", timeout=5)
    assert service.forms == []
