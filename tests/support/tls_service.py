"""A small chat service on the Berlin wire, over TLS with a certificate made for the test."""

from __future__ import annotations

import contextlib
import datetime
import json
import ssl
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import trustme
from aiohttp import web

from support.playing import playing

ACCOUNT = "tls-account"
PASSWORD = "tls-service-password"
TOKEN = "tls-service-token"
PIECES = ("Hel", "lo ", "over ", "TLS")
ANSWER = "".join(PIECES)


class TinyService:
    """Logs in one account and answers every prompt with `ANSWER`.

    Attributes:
        base: a path of its own: a port may be given out twice in one process, and tokens are
            kept by URL.
        address: `host:port`; empty until it runs.
        url: base URL; empty until it runs.
        paths: the path of each request that came in, whatever it was, without `base`.
        headers: the names of all headers that came in, in lower case.
        bodies: the body of each request.
    """

    def __init__(self) -> None:
        self.base = f"/{uuid.uuid4().hex}"
        self.address = ""
        self.url = ""
        self.paths: list[str] = []
        self.headers: set[str] = set()
        self.bodies: list[bytes] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Take note of a request and answer it."""
        path = request.path.removeprefix(self.base)
        self.paths.append(path)
        self.headers.update(name.lower() for name in request.headers)
        body = await request.read()
        self.bodies.append(body)
        match path:
            case "/api/login":
                return self._login(body)
            case "/api/chat/completions":
                return self._chat(request)
        return web.json_response({"message": "no such path"}, status=404)

    def _login(self, body: bytes) -> web.Response:
        if json.loads(body) != {"account": ACCOUNT, "password": PASSWORD}:
            return web.json_response({"message": "wrong account or password"}, status=401)
        return web.json_response({"data": {"token": TOKEN}})

    def _chat(self, request: web.Request) -> web.Response:
        if request.headers.get("token") != TOKEN:
            return web.json_response({"message": "no valid token"}, status=401)
        lines = "".join(f'{{"content": "{piece}"}}\n' for piece in PIECES)
        return web.Response(text=lines, content_type="application/x-ndjson")


@contextlib.asynccontextmanager
async def running(
    context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[TinyService]:
    """Run the service on a port of its own; without a context it speaks plain http.

    Args:
        context: the TLS context with the certificate.
        host: the name that stands in the URL.
    """
    service = TinyService()
    async with playing(service.answer, context) as url:
        service.url = url.replace("127.0.0.1", host) + service.base
        service.address = service.url.split("/")[2]
        yield service


class OwnAuthority:
    """A certificate authority made for one test.

    Attributes:
        ca_file: PEM file with its certificate.
    """

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.ca_file = str(folder / "own-ca.pem")
        self._authority.cert_pem.write_to_path(self.ca_file)

    def context(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """Return the TLS context of a server with a certificate for these names."""
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        if expired:
            certificate = self._authority.issue_cert(
                *names, not_before=now - 3 * day, not_after=now - day
            )
        else:
            certificate = self._authority.issue_cert(*names)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(context)
        return context
