"""A real, well-behaved chat service behind a login, that notes down all that clients do.

    async with ChatService() as service:
        berlin = client(service)

It behaves until a test tells it otherwise: answers that are queued in `login_answers` and
`chat_answers` are given once each, and `on_login` and `on_chat` see every request first.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import json
import os
import re
import resource
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Self, TypeAlias

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from berlin import Berlin, Timeouts

BACKLOG = 4096
PATIENT = Timeouts(connect=20, first_event=20, idle=20, total=30)
LARGEST_REQUEST_BYTES = 256 * 1024 * 1024
# asyncio's debug mode tells of steps over 100 ms: that is the machine, and no fault.
SLOW_STEP = re.compile(r"^Executing <.*> took \d+\.\d+ seconds\n", re.MULTILINE)

HANG: Final = object()
"""Among the pieces of an answer: nothing more comes, and the connection stays open."""

# A piece is text (one NDJSON line), bytes (sent as they are), seconds to wait, an event to wait
# for, HANG, or ConnectionResetError to cut the connection.
Piece: TypeAlias = str | bytes | float | object


@dataclass(frozen=True)
class Answer:
    """An answer instead of the usual one."""

    status: int = 200
    body: bytes | str | Mapping[str, Any] = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        match self.body:
            case bytes():
                return self.body
            case str():
                return self.body.encode()
            case _:
                return json.dumps(self.body).encode()


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    raw_headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def token(self) -> str | None:
        return self.headers.get("token")


@dataclass(frozen=True)
class Finished:
    """How a program ended that ran beside the service."""

    code: int
    out: str
    err: str


Hook: TypeAlias = Callable[[Request], Awaitable[Answer | None]]


class ChatService:
    """One service on a port of its own.

    Args:
        pieces: what every chat is answered with.
        accounts: accounts and their passwords.

    Attributes:
        logins: every login request, good or bad.
        chats: every chat request, good or bad.
        login_count: logins by account, good or bad.
        violations: tokens that were used by somebody else, or that were never issued here. Who
            asks is told by the prompt: `I am alice` has to come with a token of alice.
        opened: connections that were made, in all.
        closed: how many of them have ended.
        sent: bytes of answers that the system took.
    """

    def __init__(
        self,
        pieces: Iterable[Piece] = ("Hello", ", ", "world"),
        accounts: Mapping[str, str] | None = None,
    ) -> None:
        self.pieces: Iterable[Piece] | Callable[[Request], Iterable[Piece]] = tuple(pieces)
        self.accounts = dict(accounts or {"account": "password"})
        self.login_answers: deque[Answer] = deque()
        self.chat_answers: deque[Answer] = deque()
        self.on_login: Hook | None = None
        self.on_chat: Hook | None = None
        self.logins: list[Request] = []
        self.chats: list[Request] = []
        self.login_count: Counter[str] = Counter()
        self.violations: list[str] = []
        self.opened = 0
        self.closed = 0
        self.sent = 0
        self.url = ""
        self._owners: dict[str, str] = {}
        self._good: set[str] = set()
        self._serial = itertools.count(1)
        self._numbers: dict[RequestHandler, int] = {}

    async def __aenter__(self) -> Self:
        allow_many_descriptors()
        self._server = _Server(self)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=BACKLOG)
        await site.start()
        # Ports come again, and tokens are kept by URL for as long as the process lives: the path
        # makes each service one of its own.
        self._prefix = f"/service-{token_hex(6)}"
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}{self._prefix}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._runner.cleanup()

    @property
    def text(self) -> str:
        """The whole text of the usual answer."""
        assert not callable(self.pieces)
        return "".join(piece for piece in self.pieces if isinstance(piece, str))

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return self.opened - self.closed

    @property
    def tokens(self) -> frozenset[str]:
        """All tokens that were ever issued."""
        return frozenset(self._owners)

    def issue(self, account: str = "account") -> str:
        """Return a new token, as a login would."""
        token = f"token-{next(self._serial)}-{token_hex(12)}"
        self._owners[token] = account
        self._good.add(token)
        return token

    def revoke(self, *tokens: str) -> None:
        """Refuse these tokens from now on; without any, all that were issued."""
        self._good -= set(tokens or self._good)

    async def all_closed(self, within: float = 30.0) -> None:
        """Wait until no connection is open."""
        async with asyncio.timeout(within):
            while self.open:
                await asyncio.sleep(0.002)

    async def seen(self, chats: int = 0, logins: int = 0, within: float = 30.0) -> None:
        """Wait until this many requests have come in."""
        async with asyncio.timeout(within):
            while len(self.chats) < chats or len(self.logins) < logins:
                await asyncio.sleep(0.002)

    def environment(self) -> dict[str, str]:
        """Return an environment in which this is the service that Berlin uses."""
        account, password = next(iter(self.accounts.items()))
        ours = {"BERLIN_URL": self.url, "BERLIN_ACCOUNT": account, "BERLIN_PASSWORD": password}
        return {**os.environ, "PYTHONIOENCODING": "utf-8", **ours}

    async def run(
        self,
        program: str | Path,
        *flags: str,
        environment: Mapping[str, str] | None = None,
        within: float = 60.0,
    ) -> Finished:
        """Run a Python program beside the service, and return how it ended.

        Without flags every warning is an error and asyncio watches itself.
        """
        source = [str(program)] if isinstance(program, Path) else ["-c", program]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(flags or ("-X", "dev", "-W", "error")),
            *source,
            env={**self.environment(), **(environment or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(within):
                out, err = await process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        assert process.returncode is not None
        return Finished(process.returncode, out.decode(), SLOW_STEP.sub("", err.decode()))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        noted = Request(
            request.method,
            request.path.removeprefix(self._prefix),
            request.headers.copy(),
            dict(request.cookies),
            request.raw_headers,
            await request.read(),
            self._numbers[request.protocol],
        )
        match (noted.method, noted.path):
            case ("POST", "/api/login"):
                answer = await self._login(noted)
            case ("POST", "/api/chat/completions"):
                answer = await self._chat(noted)
                if answer is None:
                    return await self._stream(request, noted)
            case _:
                answer = Answer(404, {"message": f"there is no {noted.method} {noted.path}"})
        json_or_text = "application/json" if isinstance(answer.body, Mapping) else "text/plain"
        headers = {"Content-Type": json_or_text, **answer.headers}
        return web.Response(status=answer.status, body=answer.data, headers=headers)

    async def _login(self, request: Request) -> Answer:
        account, password = request.json.get("account"), request.json.get("password")
        self.logins.append(request)
        self.login_count[account] += 1
        instead = await self.on_login(request) if self.on_login else None
        if instead is None and self.login_answers:
            instead = self.login_answers.popleft()
        if instead is not None:
            return instead
        if account not in self.accounts or self.accounts[account] != password:
            return Answer(401, {"message": "the login is not known"})
        return Answer(200, {"data": {"token": self.issue(account)}})

    async def _chat(self, request: Request) -> Answer | None:
        self.chats.append(request)
        token = request.token or ""
        owner = self._owners.get(token)
        who = re.match(r"I am (\w+)", str(request.json.get("prompt")))
        if owner is None:
            self.violations.append(f"{token!r} was never issued here")
        elif who and who[1] != owner:
            self.violations.append(f"{who[1]} uses a token of {owner}")
        instead = await self.on_chat(request) if self.on_chat else None
        if instead is None and self.chat_answers:
            instead = self.chat_answers.popleft()
        if instead is None and token not in self._good:
            instead = Answer(401, {"message": "the token is not valid"})
        return instead

    async def _stream(self, request: web.BaseRequest, noted: Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for piece in self.pieces(noted) if callable(self.pieces) else self.pieces:
            match piece:
                case str():
                    data = line(piece)
                case bytes():
                    data = piece
                case int() | float():
                    await asyncio.sleep(piece)
                    continue
                case asyncio.Event():
                    await piece.wait()
                    continue
                case type():
                    assert request.transport is not None
                    request.transport.abort()
                    await asyncio.Event().wait()  # until the loss is noticed
                case _:
                    await asyncio.Event().wait()
                    continue
            await response.write(data)
            self.sent += len(data)
        await response.write_eof()
        return response


def client(
    service: ChatService,
    account: str = "account",
    password: str = "password",
    timeouts: Timeouts = PATIENT,
) -> Berlin:
    """Return a provider that asks a service."""
    return Berlin(service.url, account, password, timeout=timeouts)


class _Server(web.Server):
    """Counts connections, and ends an answer as soon as nobody is there to read it."""

    def __init__(self, service: ChatService) -> None:
        super().__init__(
            service._handle,
            request_factory=self._large_request,
            handler_cancellation=True,
            access_log=None,
        )
        self._service = service

    def _large_request(self, *parts: Any) -> web.BaseRequest:
        return web.BaseRequest(
            *parts, asyncio.get_running_loop(), client_max_size=LARGEST_REQUEST_BYTES
        )

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._service.opened += 1
        self._service._numbers[handler] = self._service.opened

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        del self._service._numbers[handler]
        self._service.closed += 1


def line(text: str) -> bytes:
    """Return the line that carries a piece of text."""
    return json.dumps({"content": text}, ensure_ascii=False).encode() + b"\n"


def allow_many_descriptors() -> None:
    """Raise this process's limit of open files as far as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.asynccontextmanager
async def no_new_tasks(within: float = 30.0) -> AsyncIterator[None]:
    """Fail if a task that began inside is still there at the end.

    The service's own tasks for open connections do not count, nor the gateway's for idle ones.
    """
    before = asyncio.all_tasks()
    yield
    left: list[asyncio.Task[Any]] = []
    try:
        async with asyncio.timeout(within):
            while left := [t for t in asyncio.all_tasks() - before if not _waits_for_a_request(t)]:
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"tasks are left: {left}") from None


def _waits_for_a_request(task: asyncio.Task[Any]) -> bool:
    outer: Any = task.get_coro()
    if outer.__qualname__ != "_Connection.start":
        return "RequestHandler" in outer.__qualname__
    return inspect.iscoroutine(outer.cr_await) and not inspect.iscoroutine(outer.cr_await.cr_await)
