"""The gateway over real sockets, as clients of each dialect meet it.

async with serve(Service("s", provider, ["m1"])) as at:
    for dialect in DIALECTS:
        answer = await at.ask(dialect, "Hi")
        assert (answer.status, answer.text) == (200, "Hello")
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import aiohttp

from berlin import Berlin, Timeouts
from berlin.auth.credentials import Credentials
from berlin.config import Settings
from berlin.gateway.access.guard import Guard
from berlin.gateway.access.key_reader import KeyReader
from berlin.gateway.access.keys import KeyStore
from berlin.gateway.answering import Head
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.gateway.serving.server import open_server
from berlin.gateway.streaming import OpenStreams
from berlin.providers.scripted import ScriptedProvider
from berlin.recipes.recipe import parse_recipe
from berlin.types import Endpoint, Finished
from support.face import LOGIN, PASSWORDS, accounts

PATIENT = Timeouts(connect=10, first_event=20, idle=20, total=40)


@dataclass(frozen=True)
class Dialect:
    """How the clients of one face ask, and what they read of the answer.

    Attributes:
        name: for the test's id.
        face: the face's name in logs and metrics.
        path: where a chat is posted.
        body: makes the body of a good request from prompt, model, and whether to stream.
        text: the text of one document of a streamed answer.
        whole: the text of an answer that is not streamed.
        message: the words of an error.
        count: the member that limits the answer's tokens.
    """

    name: str
    face: str
    path: str
    body: Callable[[str, str, bool], dict[str, Any]]
    text: Callable[[dict[str, Any]], str]
    whole: Callable[[dict[str, Any]], str]
    message: Callable[[dict[str, Any]], str]
    count: tuple[str, ...] = ("max_tokens",)

    def __str__(self) -> str:
        return self.name

    def pieces(self, data: bytes) -> list[str]:
        """Return the pieces of text of a streamed answer."""
        return [text for document in self.documents(data) if (text := self.text(document))]

    def documents(self, data: bytes) -> list[dict[str, Any]]:
        """Return the JSON documents of a streamed answer."""
        if self.face in ("ollama", "berlin"):
            return [json.loads(line) for line in data.split(b"\n") if line]
        frames = [
            line[len(b"data: ") :] for line in data.split(b"\n") if line.startswith(b"data: ")
        ]
        return [json.loads(frame) for frame in frames if frame != b"[DONE]"]

    def is_whole(self, data: bytes) -> bool:
        """Tell whether a streamed answer has the end that says: this is all."""
        ends = {
            "openai": b"data: [DONE]",
            "responses": b"response.completed",
            "anthropic": b"message_stop",
            "ollama": b'"done":true',
        }
        return ends.get(self.face, b"finish_reason") in data

    def error_in(self, data: bytes) -> str:
        """Return the words of the error that a streamed answer ends with."""
        return self.message(self.documents(data)[-1])


def _messages(prompt: str, model: str, stream: bool) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    return {"model": model, "messages": messages, "stream": stream}


def _generate(prompt: str, model: str, stream: bool) -> dict[str, Any]:
    return {"model": model, "prompt": prompt, "stream": stream}


def _berlin(prompt: str, model: str, stream: bool) -> dict[str, Any]:
    return {"prompt": prompt, "parentMessageId": "p", "options": {"model": model}}


def _of_error(document: dict[str, Any]) -> str:
    return str(document["error"]["message"])


OPENAI = Dialect(
    "openai",
    "openai",
    "/v1/chat/completions",
    _messages,
    lambda d: "".join(c["delta"].get("content") or "" for c in d.get("choices", ())),
    lambda d: d["choices"][0]["message"]["content"],
    _of_error,
)
RESPONSES = Dialect(
    "responses",
    "responses",
    "/v1/responses",
    lambda prompt, model, stream: {"model": model, "input": prompt, "stream": stream},
    lambda d: d["delta"] if d.get("type") == "response.output_text.delta" else "",
    lambda d: "".join(
        part["text"]
        for item in d["output"]
        if item["type"] == "message"
        for part in item["content"]
    ),
    lambda d: str((d.get("response") or d)["error"]["message"]),
    ("max_output_tokens",),
)
ANTHROPIC = Dialect(
    "anthropic",
    "anthropic",
    "/v1/messages",
    lambda prompt, model, stream: {**_messages(prompt, model, stream), "max_tokens": 64},
    lambda d: d.get("delta", {}).get("text", ""),
    lambda d: "".join(block.get("text", "") for block in d["content"]),
    _of_error,
)
OLLAMA = Dialect(
    "ollama",
    "ollama",
    "/api/chat",
    _messages,
    lambda d: d.get("message", {}).get("content", ""),
    lambda d: d["message"]["content"],
    lambda d: str(d["error"]),
    ("options", "num_predict"),
)
GENERATE = Dialect(
    "ollama-generate",
    "ollama",
    "/api/generate",
    _generate,
    lambda d: d.get("response", ""),
    lambda d: d["response"],
    lambda d: str(d["error"]),
    ("options", "num_predict"),
)
BERLIN = Dialect(
    "berlin",
    "berlin",
    "/api/chat/completions",
    _berlin,
    lambda d: d.get("content", ""),
    lambda d: d["content"],
    lambda d: str(d["message"] if "message" in d else d["error"]["message"]),
    ("options", "max_tokens"),
)

DIALECTS = (OPENAI, RESPONSES, ANTHROPIC, OLLAMA, GENERATE, BERLIN)
WITH_KEYS = (OPENAI, RESPONSES, ANTHROPIC, OLLAMA, GENERATE)
"""Those whose clients show a key, and may ask for an answer in one piece."""


@dataclass
class Answer:
    """What a client got."""

    dialect: Dialect
    status: int
    headers: Mapping[str, str]
    data: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.data)

    @property
    def message(self) -> str:
        """The words of an error."""
        return self.dialect.message(self.json)

    @property
    def text(self) -> str:
        """The whole text."""
        if "json" in self.headers["Content-Type"] and "ndjson" not in self.headers["Content-Type"]:
            return self.dialect.whole(self.json)
        return "".join(self.dialect.pieces(self.data))


@dataclass
class At:
    """A client's side of a running gateway.

    Attributes:
        url: the base URL.
        session: the client.
        gateway: what runs.
        key: what clients send as their key.
    """

    url: str
    session: aiohttp.ClientSession
    gateway: Gateway
    key: str = ""
    tokens: dict[str, str] = field(default_factory=dict)

    async def headers(self, dialect: Dialect, key: str | None = None) -> dict[str, str]:
        """Return the headers that show who asks."""
        if dialect is BERLIN:
            if self.url not in self.tokens:
                self.tokens[self.url] = await self.login()
            return {"token": self.tokens[self.url]}
        shown = self.key if key is None else key
        return {"Authorization": f"Bearer {shown}"} if shown else {}

    async def login(self, account: str = "alice") -> str:
        """Return a token of the Berlin face."""
        given = {"account": account, "password": PASSWORDS[account]}
        async with self.session.post(self.url + LOGIN, json=given) as answer:
            assert answer.status == 200, await answer.text()
            return str((await answer.json())["data"]["token"])

    async def ask(
        self,
        dialect: Dialect,
        prompt: str = "Hi",
        model: str = "s:m1",
        *,
        stream: bool = False,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> Answer:
        """Ask for an answer, with more members in the body."""
        return await self.post(
            dialect, {**dialect.body(prompt, model, stream), **members}, key=key, headers=headers
        )

    async def post(
        self,
        dialect: Dialect,
        body: bytes | dict[str, Any],
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Post a body to the chat of a face."""
        sent = {"Content-Type": "application/json", **await self.headers(dialect, key)}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        payload = aiohttp.BytesIOPayload(io.BytesIO(data)) if data else None
        async with self.session.post(
            self.url + dialect.path, data=payload, headers={**sent, **(headers or {})}
        ) as answer:
            return Answer(dialect, answer.status, answer.headers, await answer.read())

    async def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Ask for a page, as clients of OpenAI's API do."""
        shown = {**await self.headers(OPENAI), **headers}
        async with self.session.request(method, self.url + path, headers=shown) as answer:
            return Answer(OPENAI, answer.status, answer.headers, await answer.read())

    async def head(self, dialect: Dialect, body: bytes, *more: str) -> bytes:
        """Return the bytes of a request for a chat."""
        named = (await self.headers(dialect)).items()
        lines = [f"{name}: {value}" for name, value in named]
        return request_bytes("POST", dialect.path, body, *lines, *more)

    async def raw(self, data: bytes, within: float = 30.0) -> bytes:
        """Send bytes on a connection of its own, and return all that comes until it is closed."""
        async with self.connection() as (reader, writer):
            writer.write(data)
            async with asyncio.timeout(within):
                return await reader.read()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Open a connection; it is cut at the end."""
        parts = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**20)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def request_bytes(method: str, path: str, body: bytes = b"", *lines: str) -> bytes:
    """Return a request as it goes over the wire; the connection ends after it."""
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines]
    if body:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "".join(f"{line}\r\n" for line in (*head, "")).encode("latin-1") + body


async def silence() -> None:
    """Pause a script until two keep-alives have been sent, however long that takes."""
    enough, keep_alive, sent = asyncio.Event(), Head.keep_alive, itertools.count(1)

    def noted(head: Head, as_comment: bool) -> bytes:
        if next(sent) == 2:
            enough.set()
        return keep_alive(head, as_comment)

    with patch.object(Head, "keep_alive", noted):
        await enough.wait()


def service(*script: Any, **more: Any) -> Service:
    """Return a service that plays a script."""
    return Service("s", ScriptedProvider(list(script) or ["Hi", Finished()]), ["m1"], **more)


@asynccontextmanager
async def serve(
    *services: Service,
    keys: Path | None = None,
    aliases: Mapping[str, str] | None = None,
    gateway: Gateway | None = None,
    keep_alive_s: float = 15.0,
    write_timeout_s: float = 60.0,
    log: Any = None,
    metrics: Any = None,
    **options: Any,
) -> AsyncIterator[At]:
    """Run a gateway over some services, and give a client of it.

    Args:
        services: what it serves; the first is the default.
        keys: the file of its keys.
        aliases: other names for models.
        gateway: the gateway itself, instead of one over the services.
        keep_alive_s: see `OpenStreams`.
        write_timeout_s: see `OpenStreams`.
        log: its access log.
        metrics: its metrics.
        options: of `open_server`.
    """
    served = gateway or Gateway(
        Catalog(services, aliases),
        Guard(KeyReader(keys) if keys is not None else None),
        OpenStreams(keep_alive_s, write_timeout_s),
        metrics,
        [log] if log is not None else [],
    )
    async with (
        open_server(served, accounts(), **{"grace_s": 0, **options}) as url,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=50)
        ) as session,
    ):
        yield At(url, session, served)


def make_key(path: Path, name: str, *models: str, **options: Any) -> str:
    """Add a key to a file, and return it."""
    return KeyStore(path).add(name, models, **options)[1].reveal()


RECIPE = """
schema = 1
name = "{name}"
description = "a service of a test"
[endpoint]
url = "{url}"
[auth]
flow = "api-key"
[chat]
format = "{format}"
"""


def described_provider(
    url: str,
    format: str = "openai-chat",
    api_key: str = "key-of-the-upstream",
    timeouts: Timeouts = PATIENT,
    more: str = "",
) -> Berlin:
    """Return a provider for a service that speaks a known format; `more` is of its `[chat]`."""
    text = RECIPE.format(name="upstream", url=url, format=format) + more
    recipe = parse_recipe(text, "upstream.toml")
    credentials = Credentials.checked("test", api_key=api_key)
    return Berlin.from_settings(
        Settings("upstream", recipe, Endpoint.of(url), credentials, timeouts)
    )


def frame(text: str) -> bytes:
    """Return the frame that carries a piece of text in the OpenAI format."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


LAST_FRAME = (
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
