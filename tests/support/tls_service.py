"""A small chat service on the Berlin wire, over TLS with a certificate made for the test."""

from __future__ import annotations

import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import trustme
from aiohttp import web

ACCOUNT = "tls-account"
PASSWORD = "tls-service-password"
TOKEN = "tls-service-token"
PIECES = ("Hel", "lo ", "over ", "TLS")
ANSWER = "".join(PIECES)


class TinyService:
    """Logs in one account and answers every prompt with `ANSWER`.

    Attributes:
        url: base URL; empty until it runs.
        paths: the path of each request that came in, in order.
        headers: the names of all headers that came in, in lower case.
        values: the values of all headers that came in.
        peers: `host:port` of the other end of each request.
        connections: how many TCP connections were accepted, also those that never became TLS.
    """

    def __init__(self) -> None:
        self.url = ""
        self.paths: list[str] = []
        self.headers: set[str] = set()
        self.values: set[str] = set()
        self.peers: list[str] = []
        self.bodies: list[bytes] = []

    async def login(self, request: web.Request) -> web.StreamResponse:
        """Answer `POST /api/login`."""
        await self._note(request)
        told = await request.json()
        if told != {"account": ACCOUNT, "password": PASSWORD}:
            return web.json_response({"message": "wrong account or password"}, status=401)
        return web.json_response({"data": {"token": TOKEN}})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer `POST /api/chat/completions`."""
        await self._note(request)
        if request.headers.get("token") != TOKEN:
            return web.json_response({"message": "no valid token"}, status=401)
        lines = "".join(f'{{"content": "{piece}"}}\n' for piece in PIECES)
        return web.Response(text=lines, content_type="application/x-ndjson")

    async def _note(self, request: web.Request) -> None:
        self.paths.append(request.path)
        self.headers.update(name.lower() for name in request.headers)
        self.values.update(request.headers.values())
        self.bodies.append(await request.read())
        peer = request.transport.get_extra_info("peername") if request.transport else None
        if peer is not None:
            self.peers.append(f"{peer[0]}:{peer[1]}")


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
    app = web.Application()
    app.router.add_post("/api/login", service.login)
    app.router.add_post("/api/chat/completions", service.chat)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = runner.addresses[0][1]
        service.url = f"{'https' if context else 'http'}://{host}:{port}"
        yield service
    finally:
        await runner.cleanup()


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
