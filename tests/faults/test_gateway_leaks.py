"""The gateway, seventh part: what must not get out, and what must not get in (X01 to X26, G50)."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

import berlin
from berlin import Berlin, Timeouts
from berlin.gateway.catalog import Service
from berlin.gateway.observe.log import JsonAccessLog
from berlin.gateway.observe.metrics import PrometheusMetrics
from berlin.providers.scripted import ScriptedProvider
from support.chat_service import Answer, ChatService, Request
from support.face import LOGIN
from support.fault_server import FaultServer
from support.fault_steps import Script, Send, answer, begin_stream
from support.gateway import (
    BERLIN,
    DIALECTS,
    LAST_FRAME,
    OPENAI,
    WITH_KEYS,
    Dialect,
    described_provider,
    frame,
    make_key,
    serve,
)

SSE = "Content-Type: text/event-stream"
GOOD: Script = (*begin_stream(frame("Hello"), LAST_FRAME, headers=(SSE,)), Send(b"0\r\n\r\n"))
FACES = ("openai", "anthropic", "ollama", "berlin")

UPSTREAM_KEY = "canary-of-the-upstream-key"
PROMPT = "canary-of-the-prompt"
ANSWER = "canary-of-the-answer"
GUESS = "canary-of-a-wrong-key"
PASSWORD = "canary-of-a-wrong-password"


class Trap:
    """Listens, and counts who comes."""

    def __init__(self) -> None:
        self.visits = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Trap:
        async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.visits += 1
            writer.close()

        self._server = await asyncio.start_server(visit, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        await self._server.wait_closed()


@asynccontextmanager
async def upstream(*scripts: Script) -> AsyncIterator[tuple[FaultServer, Service]]:
    """Run a service that speaks the OpenAI format, and give a provider for it."""
    async with FaultServer(*(scripts or (GOOD,))) as server:
        url = f"{server.url}/{token_hex(6)}"
        short = Timeouts(connect=2, first_event=2, idle=2, total=10)
        provider = described_provider(url, api_key=UPSTREAM_KEY, timeouts=short)
        yield server, Service("s", provider, ["m1"])


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_x01_x06_requests_name_no_other_host(dialect: Dialect) -> None:
    """Members, headers and options that name a URL lead nowhere; the key stays with its service."""
    async with Trap() as trap, upstream() as (server, service), serve(service) as at:
        members = dict.fromkeys(
            ("api_base", "base_url", "url", "proxy", "endpoint", "host", "api_key"), trap.url
        )
        headers = {"X-Base-URL": trap.url, "X-Forwarded-Host": trap.url[7:], "Via": trap.url}
        body = dialect.body("Hi", "s:m1", True) | members | {"extra_headers": {"Host": "x"}}
        if "options" in body:
            body["options"] |= members
        got = await at.post(dialect, body, headers=headers)
        for model in (trap.url, f"s:{trap.url}", f"openai:{trap.url}"):
            await at.ask(dialect, model=model)
        assert trap.visits == 0
        assert got.status in (200, 400)
        assert all(request.connection is not None for request in server.requests)
        assert {r.headers["host"] for r in server.requests} <= {server.url[7:]}


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Go", "308 Go"])
async def test_x03_redirects_of_the_upstream_are_not_followed(status: str) -> None:
    """A redirect is an error; nothing is asked there."""
    async with Trap() as trap:
        script = answer(status, b"", f"Location: {trap.url}/v1/chat/completions")
        async with upstream(script) as (_, service), serve(service) as at:
            got = await at.ask(OPENAI)
        assert got.status == 502
        assert trap.url not in got.data.decode()
        assert trap.visits == 0


async def test_x07_images_are_not_fetched() -> None:
    """The URL of an image goes on as it is; the gateway itself asks nothing there."""
    async with Trap() as trap, upstream() as (server, service), serve(service) as at:
        part = {"type": "image_url", "image_url": {"url": f"{trap.url}/cat.png"}}
        got = await at.ask(OPENAI, messages=[{"role": "user", "content": [part]}])
        assert got.status in (200, 400)
        assert trap.visits == 0
        if got.status == 200:
            assert f"{trap.url}/cat.png".encode() in server.requests[0].body


NASTY = 'a\r\n{"fake":1}\n\x1b[31m\u2028\u202e%s{}${jndi:x}'


async def test_x08_log_lines_stay_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever stands in a model, prompt, user, path or header, a request is one line of JSON."""
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "access.log"
    log = JsonAccessLog(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    sent = 0
    async with serve(Service("s", ScriptedProvider(), ["m1"], any_model=True), log=log) as at:
        for dialect in DIALECTS:
            for model in ("s:m1", NASTY, f"s:{NASTY}"):
                await at.ask(dialect, NASTY, model, user=NASTY, metadata={NASTY: NASTY})
                sent += 1
        head = b"Host: localhost\r\nUser-Agent: a\xff\xe2\x80\xa8\r\nConnection: close\r\n\r\n"
        await at.raw(b"GET /%0a%7b%22fake%22:1%7d%1b HTTP/1.1\r\n" + head)
        await at.raw(b"GET /\x1b[31m HTTP/1.1\r\n" + head)  # no HTTP: it has no line of its own
        sent += 1
    lines = path.read_bytes().decode("ascii").splitlines()
    logins = [line for line in lines if json.loads(line)["path"] == LOGIN]
    assert len(lines) - len(logins) == sent
    assert all("fake" not in json.loads(line) for line in lines)
    for record in caplog.records:
        assert "\x1b" not in record.getMessage()
        assert "\n" not in record.getMessage() or record.exc_info


async def test_x09_x14_canaries(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No key, password, token, prompt or answer stands in a log, in metrics, or in an error."""
    caplog.set_level(logging.DEBUG)
    keys = tmp_path / "keys.sqlite"
    key = make_key(keys, "k")
    path = tmp_path / "access.log"
    log = JsonAccessLog(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    metrics = PrometheusMetrics(["s"], FACES)
    echo = json.dumps({"error": {"message": f"bad key {UPSTREAM_KEY}, Bearer {UPSTREAM_KEY}"}})
    scripts = (
        (*begin_stream(frame(ANSWER), LAST_FRAME, headers=(SSE,)), Send(b"0\r\n\r\n")),
        answer("401 No", echo.encode()),
        answer("400 Bad", echo.encode()),
        answer("500 Oops", echo.encode()),
        answer("200 OK", f"data: {echo}\n\n".encode(), SSE),
        (*begin_stream(frame("x"), headers=(SSE,)), Send(b"5\r\nzzzzz\r\n")),
    )
    told: list[bytes] = []
    async with (
        upstream(*scripts) as (_, service),
        serve(service, keys=keys, log=log, metrics=metrics) as at,
    ):
        session_token = await at.login()
        for dialect in DIALECTS:
            for stream in (True, False):
                for shown in (key, GUESS):
                    got = await at.ask(dialect, PROMPT, stream=stream, key=shown)
                    told.append(b"" if got.status == 200 else got.data)
                    told.append(repr(got.headers).encode())
            bad = await at.post(dialect, b'{"model": "%b' % PROMPT.encode(), key=key)
            told.append(bad.data)
        for path_, query in (("/v1/models", f"?key={key}"), ("/nowhere", f"?x={PROMPT}")):
            told.append((await at.get(path_ + query)).data)
        async with at.session.post(
            at.url + LOGIN, json={"account": "alice", "password": PASSWORD}
        ) as login:
            told.append(await login.read())
        at.key = key
        told.append((await at.get("/metrics")).data)
    written = path.read_bytes()
    secrets = [key, session_token, UPSTREAM_KEY, GUESS, PASSWORD]
    for secret in (*secrets, PROMPT, ANSWER):
        assert secret.encode() not in written
        assert secret not in caplog.text
        assert not any(secret in str(vars(record)) for record in caplog.records)
    for secret in secrets:
        assert not [data for data in told if secret.encode() in data]
    assert len(written.splitlines()) >= 20


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_x13_upstream_that_repeats_the_token(dialect: Dialect) -> None:
    """A service that echoes its token, address or account in an error: no client reads them."""

    async def echo(request: Request) -> Answer:
        told = f"{request.token}, account, {service.url}/chat?x=1, see HTTP://{host} or {host}."
        return Answer(422, {"message": f"no: {dict(request.headers)} {told}"})

    async with ChatService(accounts={"account": PASSWORD}) as service:
        service.on_chat = echo
        host = service.url.partition("://")[2]
        provider = Berlin(service.url, "account", PASSWORD)
        async with serve(Service("s", provider, ["m1"])) as at:
            got = await at.ask(dialect, stream=True)
        assert got.status == 400
        assert service.tokens
        hidden = (*service.tokens, PASSWORD, "account", host, host.partition(":")[0])
        assert not [t for t in hidden if t in got.data.decode()]
        assert "no: " in got.message


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_x16_headers_of_the_client_stay_here(dialect: Dialect, tmp_path: Path) -> None:
    """The client's key, cookies and own headers do not reach the upstream."""
    keys = tmp_path / "keys.sqlite"
    key = make_key(keys, "k")
    headers = {
        "Cookie": "c=mine-7",
        "X-Mine": "mine-7",
        "User-Agent": "mine-7",
        "Referer": "http://mine-7",
        "TE": "trailers",
        "X-Request-ID": "mine-7",
        "X-Forwarded-For": "mine-7",
    }
    async with upstream() as (server, service), serve(service, keys=keys) as at:
        got = await at.ask(dialect, key=key, headers=headers, stream=True)
    assert got.status == 200
    (seen,) = server.requests
    assert not [v for v in (*seen.headers, *seen.headers.values()) if "mine-7" in v or key in v]
    assert seen.headers["x-request-id"] == got.headers["x-request-id"]
    assert seen.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"


async def test_x18_a_thousand_prompts_at_once(tmp_path: Path) -> None:
    """Of 1,000 unique prompts at the same time each gets its own answer."""

    class Echo(ScriptedProvider):
        async def bursts(self, request: Any) -> AsyncIterator[Any]:
            await asyncio.sleep(0)
            for text in ("You said: ", request.messages[-1].text):
                yield [berlin.types.TextDelta(text)]
                await asyncio.sleep(0)
            yield [berlin.types.Finished()]

    from berlin.gateway.access.admission import Admission

    service = Service("s", Echo(), ["m1"], admission=Admission(100, 2_000, 60))
    async with serve(service) as at:
        for dialect in DIALECTS:
            await at.headers(dialect)
        asked = [
            at.ask(DIALECTS[n % len(DIALECTS)], f"prompt-{n}-{token_hex(4)}", stream=bool(n % 2))
            for n in range(1_000)
        ]
        answers = await asyncio.gather(*asked)
    assert {answer.status for answer in answers} == {200}
    assert [re.findall(r"^You said: prompt-(\d+)-", a.text) for a in answers] == [
        [str(n)] for n in range(1_000)
    ]


async def test_x17_nothing_is_cached() -> None:
    """The same request twice is asked twice."""
    async with upstream() as (server, service), serve(service) as at:
        for _ in range(2):
            assert (await at.ask(OPENAI)).text == "Hello"
    assert len(server.requests) == 2


async def test_g50_idempotency_key() -> None:
    """The same Idempotency-Key twice is two requests, as the manual says: nothing is kept."""
    async with upstream() as (server, service), serve(service) as at:
        for _ in range(2):
            got = await at.ask(OPENAI, headers={"Idempotency-Key": "one"})
            assert got.status == 200
    assert len(server.requests) == 2
    manual = Path(__file__).parents[2] / "docs"
    assert any("Idempotency-Key" in page.read_text("utf-8") for page in manual.glob("*.md"))


async def test_x22_proxy_variables_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the environment sees a request of the gateway."""
    async with Trap() as trap, upstream() as (_, service), serve(service) as at:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, trap.url)
        assert (await at.ask(OPENAI)).status == 200
        assert trap.visits == 0


TEMPLATES = [
    "{account}",
    "{password}",
    "{model}",
    "{uuid4}",
    "{{7*7}}",
    "${HOME}",
    "%(x)s",
    "{0.__class__}",
]


@pytest.mark.parametrize("dialect", [OPENAI, BERLIN], ids=str)
async def test_x23_placeholders_in_a_prompt_are_text(dialect: Dialect) -> None:
    """What looks like a placeholder of a recipe goes to the service as it is."""
    async with ChatService() as service:
        provider = Berlin(service.url, "account", "password")
        async with serve(Service("s", provider, ["m1"])) as at:
            for text in TEMPLATES:
                assert (await at.ask(dialect, text)).status == 200
    assert [chat.json["prompt"] for chat in service.chats] == TEMPLATES


async def test_g46_metrics_are_bounded() -> None:
    """1,000 names of models, paths, methods and providers make no series of their own."""
    metrics = PrometheusMetrics(["s"], FACES)
    service = Service("s", ScriptedProvider(), ["m1"], any_model=True)
    async with serve(service, metrics=metrics) as at:

        async def ask(n: int) -> None:
            await at.ask(WITH_KEYS[n % len(WITH_KEYS)], model=f"name-{n}")
            await at.ask(WITH_KEYS[n % len(WITH_KEYS)], model=f"s:name-{n}")
            await at.get(f"/path-{n}")

        for begin in range(0, 100, 20):
            await asyncio.gather(*(ask(n) for n in range(begin, begin + 20)))
        before = (await at.get("/metrics")).data
        for begin in range(100, 500, 50):
            await asyncio.gather(*(ask(n) for n in range(begin, begin + 50)))
        after = (await at.get("/metrics")).data
    assert b"berlin_requests_total" in before
    assert before.count(b"\n") == after.count(b"\n")
    assert b"name-" not in after
    assert b"path-" not in after


async def test_g46_errors_of_services_are_counted() -> None:
    """What a service failed with can be seen in the metrics."""
    metrics = PrometheusMetrics(["s"], FACES)
    async with (
        upstream(answer("500 Oops", b"{}")) as (_, service),
        serve(service, metrics=metrics) as at,
    ):
        await at.ask(OPENAI)
        page = (await at.get("/metrics")).data.decode()
    assert re.search(
        r'berlin_upstream_errors_total\{code="upstream_unavailable",provider="s"\} [1-9]', page
    )


def test_x25_nothing_is_executed_that_was_read() -> None:
    """No module unpickles, evaluates or loads code from data.

    `typed.py` makes functions from source of its own, with nothing of a recipe in it.
    """
    source = Path(berlin.__file__).parent
    bad = re.compile(
        r"^\s*(import|from) (pickle|marshal|shelve|yaml|jinja2)\b|(?<![\w.])(eval|exec)\(|"
        r"pickle\.loads?|yaml\.(unsafe_)?load\b",
        re.MULTILINE,
    )
    found = {
        path.name: bad.findall(path.read_text("utf-8"))
        for path in source.rglob("*.py")
        if bad.search(path.read_text("utf-8"))
    }
    assert found.keys() == {"typed.py"}
