"""The gateway, fifth part: HTTP itself (G05 to G08, G16, G34 to G41, G47, W07, W08, W14, X26)."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from berlin.gateway.catalog import Service
from berlin.providers.scripted import ScriptedProvider
from support.gateway import BERLIN, DIALECTS, OPENAI, Dialect, make_key, request_bytes, serve

FACES_PATHS = [
    ("/v1/chat/completions", "POST"),
    ("/chat/completions", "POST"),
    ("/v1/models", "GET"),
    ("/v1/messages", "POST"),
    ("/v1/messages/count_tokens", "POST"),
    ("/api/chat", "POST"),
    ("/api/generate", "POST"),
    ("/api/tags", "GET"),
    ("/api/show", "POST"),
    ("/api/version", "GET"),
    ("/api/login", "POST"),
    ("/api/chat/completions", "POST"),
    ("/healthz", "GET"),
    ("/metrics", "GET"),
]


def one(provider: ScriptedProvider | None = None) -> Service:
    return Service("s", provider or ScriptedProvider(), ["m1"])


METHODS = ("PUT", "DELETE", "PATCH", "TRACE", "BREW", "GET", "POST")


async def test_g34_other_methods() -> None:
    """Another method than the right one is a 405 that names the right one."""
    async with serve(one()) as at:
        for path, right in FACES_PATHS:
            for method in METHODS:
                if method == right:
                    continue
                got = await at.get(path, method)
                assert b"Traceback" not in got.data
                assert got.status == 405, (path, method)
                assert right in got.headers["Allow"]


async def test_g34_harmless_methods() -> None:
    """HEAD and OPTIONS are answered or refused, but break nothing."""
    async with serve(one()) as at:
        for path, _ in FACES_PATHS:
            for method in ("HEAD", "OPTIONS"):
                await at.get(path, method)
        assert (await at.get("/healthz")).status == 200


@pytest.mark.parametrize("line", ["OPTIONS * HTTP/1.1", "CONNECT localhost:80 HTTP/1.1"])
async def test_g34_targets_without_a_path(line: str, caplog: pytest.LogCaptureFixture) -> None:
    """A target that is no path is refused, and is no internal error."""
    async with serve(one()) as at:
        got = await at.raw(f"{line}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert got.split()[1] in (b"400", b"404", b"405")
    assert "Traceback" not in caplog.text


ODD_PATHS = [
    "//v1//models",
    "/v1//models",
    "/v1/models/",
    "/v1/models/..",
    "/v1/../v1/models",
    "/v1/%2e%2e/v1/models",
    "/%76%31/models",
    "/v1/models;x=1",
    "/v1/models%00",
    "/v1/models%2f",
    "/V1/MODELS",
    "/v1/models%0d%0aX:%20y",
    "/healthz/../v1/models",
    "/metrics/../v1/models",
    "/metrics%2f..%2fv1/models",
    "/v1/models/../../etc/passwd",
    "/static/../../etc/passwd",
    "/files/%2e%2e%2fetc%2fpasswd",
    "http://localhost/v1/models",
    "http://evil.example/v1/models",
    "/v1/models?key=x",
]


async def test_g35_x26_odd_paths_never_go_without_a_key(tmp_path: Path) -> None:
    """However the path is written, nobody gets in without a key, and no file is read."""
    keys = tmp_path / "keys.sqlite"
    make_key(keys, "k")
    for path in ODD_PATHS:
        async with serve(one(), keys=keys) as at:  # one that has not refused this address yet
            got = await at.raw(request_bytes("GET", path))
        assert got.split()[1] in (b"400", b"401", b"404", b"405", b"421"), (path, got[:300])
        assert b"root:" not in got
        assert b"\r\nX: y" not in got


HOSTS = [
    "Host: localhost",
    "Host: localhost:1",
    "Host: admin@localhost",
    "Host: localhost/healthz",
    "Host: localhost/healthz?",
    "Host: [::1]",
    "Host: [::1",
    "Host: ",
    "Host: evil.example",
    "Host: localhost\r\nHost: other",
    "Host: localhost:x",
    "Host: localhost#",
    "X-Forwarded-Host: localhost\r\nHost: evil.example",
    "X: y",
]


async def test_g36_odd_host_does_not_help(tmp_path: Path) -> None:
    """Whatever Host says, a request without a key is refused, and no request breaks anything."""
    keys = tmp_path / "keys.sqlite"
    make_key(keys, "k")
    for host in HOSTS:
        async with serve(one(), keys=keys) as at:
            head = f"GET /v1/models HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n"
            got = await at.raw(head.encode())
        assert got.split()[1] in (b"400", b"401", b"421"), host


async def test_g36_another_host_needs_a_key_for_metrics(tmp_path: Path) -> None:
    """`/metrics` needs no key on this machine, but a page can give its name this address."""
    keys = tmp_path / "keys.sqlite"
    good = f"Authorization: Bearer {make_key(keys, 'k')}"
    async with serve(one(), keys=keys) as at:
        for host, expected in (("localhost", b"200"), ("evil.example", b"401"), ("", b"401")):
            request = request_bytes("GET", "/metrics").replace(b"localhost", host.encode())
            assert (await at.raw(request)).split()[1] == expected, host
            keyed = request_bytes("GET", "/metrics", b"", good).replace(b"localhost", host.encode())
            assert (await at.raw(keyed)).split()[1] == b"200", host


async def test_g36_without_keys_only_this_machine_is_meant() -> None:
    """Without keys another name in Host is refused: a page cannot rebind its own name."""
    names = (
        "evil.example",
        "",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "[",
        "10.0.0.1",
    )
    provider = ScriptedProvider()
    async with serve(one(provider)) as at:
        for host in names:
            request = request_bytes("GET", "/v1/models").replace(b"localhost", host.encode())
            assert (await at.raw(request)).split()[1] in (b"400", b"421"), host
            chat = await at.ask(OPENAI, headers={"Host": host or "x"})
            assert chat.status in (400, 421), host
    assert provider.requests == []


async def test_g36_pages_of_others(caplog: pytest.LogCaptureFixture) -> None:
    """A page of another origin is refused, however its origin is written."""
    provider = ScriptedProvider()
    wanted = {"Access-Control-Request-Method": "POST"}
    origins = (
        "https://evil.example",
        "null",
        "http://[bad",
        "http://localhost.evil",
        "x",
        "//",
        "",
    )
    async with serve(one(provider)) as at:
        for origin in origins:
            got = await at.ask(OPENAI, headers={"Origin": origin})
            asked = await at.get(OPENAI.path, "OPTIONS", **{"Origin": origin, **wanted})
            assert (got.status, asked.status) == (403, 403), origin
            assert "Access-Control-Allow-Origin" not in asked.headers
    assert provider.requests == []
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_w07_w08_forms_of_other_sites(dialect: Dialect) -> None:
    """What a page can send to any site without asking, a form or text, is refused without keys too,
    and nothing allows the page to read the refusal."""
    provider = ScriptedProvider()
    body = json.dumps(dialect.body("Hi", "s:m1", False)).encode()
    async with serve(one(provider)) as at:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
            for origin in ("https://evil.example", "null"):
                sent = {"Content-Type": kind, "Origin": origin}
                got = await at.post(dialect, body, headers=sent)
                assert got.status in (400, 403, 415), (kind, origin)
                assert "Access-Control-Allow-Origin" not in got.headers
    assert provider.requests == []


async def test_w14_no_cache_keeps_an_answer() -> None:
    """Answers, lists and refusals are for one client: a cache does not know each header of keys."""
    async with serve(one()) as at:
        for dialect in DIALECTS:
            if dialect is not BERLIN:  # it only streams
                assert (await at.ask(dialect)).headers["Cache-Control"] == "no-store"
            assert "no-cache" in (await at.ask(dialect, stream=True)).headers["Cache-Control"]
        for path in ("/v1/models", "/nothing"):
            assert (await at.get(path)).headers["Cache-Control"] == "no-store"


async def test_g37_forwarded_for_is_not_trusted(tmp_path: Path) -> None:
    """Who guesses keys is one address, whatever it says of itself."""
    keys = tmp_path / "keys.sqlite"
    make_key(keys, "k")
    async with serve(one(), keys=keys) as at:
        statuses = [
            (
                await at.get(
                    "/v1/models",
                    **{
                        "Authorization": f"Bearer guess-{n}",
                        "X-Forwarded-For": f"10.0.0.{n}",
                        "X-Real-IP": f"10.0.0.{n}",
                        "Forwarded": f"for=10.0.0.{n}",
                    },
                )
            ).status
            for n in range(34)
        ]
    assert statuses == [401] * 31 + [429] * 3


@pytest.mark.parametrize("good_first", [True, False])
@pytest.mark.parametrize(
    ("second", "is_refused"),
    [
        ("Authorization: Bearer other", True),
        ("", True),  # the same again
        ("x-api-key: other", False),
        ("api-key: o", False),
    ],
)
async def test_g38_two_keys(
    second: str, is_refused: bool, good_first: bool, tmp_path: Path
) -> None:
    """Two `Authorization` headers are refused; beside a foreign key elsewhere ours counts."""
    keys = tmp_path / "keys.sqlite"
    good = f"Authorization: Bearer {make_key(keys, 'k')}"
    both = (good, second or good) if good_first else (second or good, good)
    async with serve(one(), keys=keys) as at:
        assert b" 200 " in (await at.raw(request_bytes("GET", "/v1/models", b"", good)))[:20]
        got = await at.raw(request_bytes("GET", "/v1/models", b"", *both))
    assert (got.split()[1] in (b"400", b"401")) is is_refused


FRAMINGS = {
    "two lengths": "Content-Length: 2\r\nContent-Length: 3",
    "two equal lengths in one": "Content-Length: 2, 2",
    "length and chunks": "Content-Length: 2\r\nTransfer-Encoding: chunked",
    "chunks and length": "Transfer-Encoding: chunked\r\nContent-Length: 2",
    "negative length": "Content-Length: -2",
    "signed length": "Content-Length: +2",
    "hexadecimal length": "Content-Length: 0x2",
    "chunked twice": "Transfer-Encoding: chunked, chunked",
    "unknown coding": "Transfer-Encoding: x",
    "blank before the colon": "Content-Length : 2",
    "line folding": "X: a\r\n b: c\r\nContent-Length: -1",
    "bad name": "X\x00: a",
    "bare LF": "X: a\nContent-Length: -1",
}


# The chunks of a body after its head, where `{}` is written as a chunk of two bytes.
CHUNKS = {
    "signed size": "+2\r\n{}\r\n0\r\n\r\n",
    "hexadecimal prefix": "0x2\r\n{}\r\n0\r\n\r\n",
    "blank after the size": "2 \r\n{}\r\n0\r\n\r\n",
    "no size": "\r\n{}\r\n0\r\n\r\n",
    "negative size": "-1\r\n{}\r\n0\r\n\r\n",
    "endless size": f"{'f' * 40}\r\n{{}}\r\n0\r\n\r\n",
    "bare LF after the size": "2\n{}\r\n0\r\n\r\n",
    "bare LF after the data": "2\r\n{}\n0\r\n\r\n",
    "bare LF at the end": "2\r\n{}\r\n0\n\n",
    "LF in an extension": "2;a\n\r\n{}\r\n0\r\n\r\n",
    "line end in a quoted extension": '2;a="\r\n{}\r\n0\r\n\r\n',
    "no end of the data": "2\r\n{}0\r\n\r\n",
    "more data than said": "2\r\n{}XX\r\n0\r\n\r\n",
    "trailer without a colon": "2\r\n{}\r\n0\r\nbad trailer\r\n\r\n",
    "trailers without end": f"2\r\n{{}}\r\n0\r\n{'X: a' * 20_000}\r\n\r\n",
}
CHUNKED = "Transfer-Encoding: chunked"
REFUSED = {
    **{name: f"{head}\r\n\r\n{{}}" for name, head in FRAMINGS.items()},
    **{name: f"{CHUNKED}\r\n\r\n{body}" for name, body in CHUNKS.items()},
    "10,000 headers": "".join(f"X{n}: a\r\n" for n in range(10_000)) + "\r\n",
    "two hosts": "Host: evil.example\r\n\r\n",
}


async def test_g08_framing_that_others_read_otherwise() -> None:
    """It is a 400, or a 431 of what is too long, and the connection ends: no second request hides
    in the body."""
    hidden = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    provider, wrong = ScriptedProvider(), {}
    async with serve(one(provider)) as at:
        for case, rest in REFUSED.items():
            head = f"POST {OPENAI.path} HTTP/1.1\r\nHost: localhost\r\n"
            got = await at.raw(f"{head}{rest}{hidden}".encode())
            refused = got.split()[1] in (b"400", b"431") and got.count(b"HTTP/1.") == 1
            if not refused or b"s:m1" in got:
                wrong[case] = got[:200]
    assert wrong == {}
    assert provider.requests == []


async def test_g08_framing_that_everybody_reads_alike() -> None:
    """Extensions, leading zeros and trailers of chunks change nothing, and trailers are ignored."""
    body = json.dumps(OPENAI.body("Hi", "s:m1", False))
    size = f"{len(body):x}"
    good = (f"{size};a=b", f"000{size}", f'{size};q="x y"')
    end = "0\r\nAuthorization: Bearer x\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"
    async with serve(one()) as at:
        for first in good:
            lines = ("Content-Type: application/json", CHUNKED, "Connection: close")
            head = "\r\n".join((f"POST {OPENAI.path} HTTP/1.1", "Host: localhost", *lines, "", ""))
            got = await at.raw(f"{head}{first}\r\n{body}\r\n{end}".encode())
            assert b" 200 " in got[:20], (first, got[:300])


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost/v1/models", "evil.example", 200),
        ("http://evil.example/v1/models", "localhost", 421),
        ("http://localhost@evil.example/v1/models", "localhost", 421),
    ],
)
async def test_g36_the_host_of_a_whole_url_counts(target: str, host: str, status: int) -> None:
    """`Host` is ignored where the target names a host itself (RFC 9112, 3.2.2)."""
    async with serve(one()) as at:
        head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        got = await at.raw(head.encode())
    assert got.split()[1] == str(status).encode()


@pytest.mark.parametrize("value", ["m1\r\nX-Evil: 1", "m1\n{}", "m\x00", "m\x1b[31m", "m\u2028x"])
@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g16_line_ends_in_the_model(dialect: Dialect, value: str) -> None:
    """A model with control characters is refused, and no header comes of it."""
    provider = ScriptedProvider()
    async with serve(one(provider)) as at:
        body = json.dumps({**dialect.body("Hi", value, False)}).encode()
        got = await at.raw(await at.head(dialect, body))
    assert got.split()[1] in (b"400", b"404")
    assert b"\r\nX-Evil" not in got
    assert provider.requests == []


async def test_g05_idle_connections() -> None:
    """With 1,000 idle connections, and beyond the limit, a new request is served at once."""
    async with serve(one(), max_connections=1_000, header_timeout_s=30) as at:
        port = int(at.url.rpartition(":")[2])
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(1_005)]
        try:
            async with asyncio.timeout(30):
                assert (await at.ask(OPENAI)).status == 200
            assert all(reader.at_eof() for reader, _ in opened[:5])
            assert not any(reader.at_eof() for reader, _ in opened[10:])
        finally:
            for _, writer in opened:
                writer.transport.abort()


@pytest.mark.parametrize("begin", [b"", b"POST /v1/chat/com", b"GET / HTTP/1.1\r\nHost: x\r\nX"])
async def test_g06_slow_head(begin: bytes) -> None:
    """A head that does not come to its end is cut off, while others are served."""
    async with serve(one(), header_timeout_s=0.4) as at:
        slow = asyncio.create_task(at.raw(begin))
        assert (await at.ask(OPENAI)).status == 200
        got = await slow
    assert got == b"" or got.startswith(b"HTTP/1.1 408 ")


async def test_g39_pipelined_requests() -> None:
    """1,000 requests in one go are answered in their order."""
    request = "GET /v1/models/s:m{} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    provider = ScriptedProvider()
    service = Service("s", provider, [f"m{n}" for n in range(1_000)])
    async with serve(service) as at:
        data = "".join(request.format(n) for n in range(1_000)).encode() + request_bytes(
            "GET", "/x"
        )
        got = await at.raw(data, within=60)
    places = [got.index(f'"s:m{n}"'.encode()) for n in range(1_000)]
    assert places == sorted(places)
    assert got.count(b"HTTP/1.1 200 ") == 1_000


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g40_expect_continue(dialect: Dialect) -> None:
    """A client that waits for `100 Continue` gets it, and then its answer."""
    async with serve(one()) as at, at.connection() as (reader, writer):
        body = json.dumps(dialect.body("Hi", "s:m1", True)).encode()
        head = await at.head(dialect, body, "Expect: 100-continue")
        writer.write(head.removesuffix(body))
        async with asyncio.timeout(30):
            assert (await reader.readline()).startswith(b"HTTP/1.1 100 ")
            writer.write(body)
            assert b"Hello" in await reader.read()


@pytest.mark.parametrize("what", ["websocket", "h2c", "TLS/1.0"])
async def test_g41_upgrades_are_ignored(what: str) -> None:
    """Nobody is spoken to in another protocol."""
    async with serve(one()) as at:
        lines = (
            f"Upgrade: {what}",
            "Connection: Upgrade",
            "HTTP2-Settings: x",
            "Sec-WebSocket-Key: x",
        )
        got = await at.raw(request_bytes("GET", "/v1/models", b"", *lines))
        prior = await at.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert got.split()[1] in (b"200", b"400", b"426", b"501")
    assert b"101 " not in got
    assert prior.startswith(b"HTTP/1.") or prior == b""


async def test_g47_health_and_metrics_ask_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The pages for watchers need no key, ask no service, and tell no secret."""
    provider = ScriptedProvider()
    async with serve(one(provider)) as at:
        pages = [await at.get(path) for path in ("/healthz", "/readyz", "/metrics")]
    assert [page.status for page in pages] == [200, 200, 200]
    assert provider.requests == []


async def test_x10_every_answer_has_an_id_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """Good or bad, each answer names its request, and no client chooses the name."""
    caplog.set_level(logging.DEBUG)
    async with serve(one()) as at:
        answers = [
            await at.ask(OPENAI, headers={"x-request-id": "mine"}),
            await at.ask(OPENAI, stream=True),
            await at.ask(OPENAI, model="no:such"),
            await at.get("/nowhere"),
            await at.get("/v1/models"),
            await at.get(OPENAI.path, "PUT"),
        ]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    assert all(name.startswith("req_") for name in ids)
