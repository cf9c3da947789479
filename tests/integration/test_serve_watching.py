"""What `berlin serve` tells those who watch it: access log, metrics, ids of requests."""

from __future__ import annotations

import asyncio
import json
import re
import stat
from pathlib import Path
from secrets import token_hex
from typing import Any

import aiohttp

from berlin.types import Usage
from support.answers import SSE, Said, openai_answer
from support.chat_service import HANG, ChatService
from support.cli import Cli, reader
from support.fault_server import FaultServer
from support.fault_steps import answer, stream
from support.gateway import ANTHROPIC, BERLIN, DIALECTS, OLLAMA, OPENAI
from support.serving import (
    add_account,
    described,
    house,
    log_lines,
    metrics,
    serving,
    stopped,
)

M1 = "models = ['m1']\nmodel = 'm1'"
FIELDS = {
    *("time", "request_id", "method", "path", "face", "provider", "model", "key", "status"),
    *("outcome", "answered_by", "attempts", "stream", "duration_ms", "first_event_ms"),
    *("input_tokens", "output_tokens"),
    *("bytes_out", "remote"),
}
COUNTED = stream(*openai_answer(Said(("a", "b"), usage=Usage(11, 7))), headers=(SSE,))


async def test_access_log(tmp_path: Path) -> None:
    """Each request is one line with all that is known of it, and not a word of what was said."""
    cli = Cli(tmp_path)
    path = tmp_path / "access.log"
    async with FaultServer(COUNTED) as server:
        cli.configure(
            f"[server]\naccess_log = '{path}'\n[aliases]\nfast = 'open:m1'\n"
            + described(cli, "open", f"{server.url}/{token_hex(6)}")
        )
        key = (await cli.run("key", "add", "ann")).out.strip()
        [line] = [one for one in (await cli.run("key", "list")).out.splitlines() if "ann" in one]
        async with serving(cli) as (process, at):
            at.key = key
            answers = [
                await at.ask(OPENAI, "the-prompt", model="fast", stream=True),
                await at.ask(ANTHROPIC, "the-prompt", model="open:m1"),
                await at.ask(OLLAMA, "the-prompt", model="nobody"),
                await at.ask(OPENAI, "the-prompt", model="fast", key="bk-wrong-key"),
                await at.get("/v1/models?key=in-the-query"),
                await at.get("/v1/nothing"),
            ]
            await at.get("/healthz")
            await stopped(process)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    data = path.read_bytes()
    lines = log_lines(data)
    assert [line["request_id"] for line in lines] == [a.headers["x-request-id"] for a in answers]
    assert all(set(line) == FIELDS for line in lines)
    assert [(e["face"], e["method"], e["path"], e["status"], e["outcome"]) for e in lines] == [
        ("openai", "POST", "/v1/chat/completions", 200, "ok"),
        ("anthropic", "POST", "/v1/messages", 200, "ok"),
        ("ollama", "POST", "/api/chat", 404, "model_not_found"),
        ("openai", "POST", "/v1/chat/completions", 401, "invalid_api_key"),
        ("openai", "GET", "/v1/models", 200, "ok"),
        ("openai", "GET", "/v1/nothing", 404, "not_found"),
    ]
    id = line.split()[0]
    assert [e["key"] for e in lines] == [id, id, id, None, id, None]
    first, second, *_ = lines
    assert (first["provider"], first["model"], first["stream"]) == ("open", "fast", True)
    assert (second["provider"], second["model"], second["stream"]) == ("open", "open:m1", False)
    for entry, got in ((first, answers[0]), (second, answers[1])):
        assert (entry["input_tokens"], entry["output_tokens"]) == (11, 7)
        assert entry["bytes_out"] == len(got.data)
        assert 0 < entry["first_event_ms"] <= entry["duration_ms"] < 10_000
        assert entry["remote"] == "127.0.0.1"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["time"])
    for secret in (key, "bk-wrong-key", "the-prompt", "in-the-query", "key-of-open"):
        assert secret.encode() not in data


async def test_clients_that_leave_have_a_line_too(tmp_path: Path) -> None:
    """In every phase: before the first event, in a stream, while waiting for a whole answer."""
    cli = Cli(tmp_path)
    path = tmp_path / "access.log"
    async with ChatService(["first", HANG]) as one:
        cli.configure(f"[server]\naccess_log = '{path}'\n" + house(one.url, M1))
        async with serving(cli) as (process, at):
            for stream_ in (True, False):
                body = json.dumps(OPENAI.body("Hi", "house:m1", stream_)).encode()
                async with at.connection() as (got, writer):
                    before = len(one.chats)
                    writer.write(await at.head(OPENAI, body))
                    await (got.readuntil(b"first") if stream_ else one.seen(chats=before + 1))
            one.pieces = [HANG]
            body = json.dumps(OPENAI.body("Hi", "house:m1", True)).encode()
            async with at.connection() as (_, writer):
                writer.write(await at.head(OPENAI, body))
                await one.seen(chats=3)
            await one.all_closed()
            await stopped(process)
    lines = log_lines(path.read_bytes())
    assert [(line["outcome"], line["stream"], line["status"]) for line in lines] == [
        ("client_left", True, 200),
        ("client_left", False, 0),
        ("client_left", True, 0),
    ]
    assert lines[0]["first_event_ms"] is not None
    assert lines[2]["first_event_ms"] is None


async def test_access_log_on_standard_output(tmp_path: Path) -> None:
    """With `-` the lines are all that stands on standard output, and come while it runs."""
    cli = Cli(tmp_path).configure("[server]\naccess_log = '-'\n")
    async with serving(cli) as (process, at):
        got = await at.ask(OPENAI, model="guide")
        async with asyncio.timeout(30):
            line = json.loads(await reader(process.stdout).readline())
        assert line["request_id"] == got.headers["x-request-id"]
        await stopped(process)
        assert await reader(process.stdout).read() == b""


async def test_ids_of_requests(tmp_path: Path) -> None:
    """Service, client and log know a request by one id, which no client chooses."""
    cli = Cli(tmp_path)
    path = tmp_path / "access.log"
    async with ChatService() as one:
        cli.configure(f"[server]\naccess_log = '{path}'\n" + house(one.url, M1))
        await add_account(cli)
        async with serving(cli) as (process, at):
            await at.headers(BERLIN)
            mine = {"x-request-id": "chosen-by-the-client"}
            answers = [
                await at.ask(dialect, model="house:m1", stream=True, headers=mine)
                for dialect in DIALECTS
            ]
            await stopped(process)
    ids = [got.headers["x-request-id"] for got in answers]
    assert len(set(ids)) == len(DIALECTS)
    assert all(re.fullmatch("req_[0-9a-f]{32}", id) for id in ids)
    assert [request.headers["X-Request-ID"] for request in one.chats] == ids
    logged = [line["request_id"] for line in log_lines(path.read_bytes())]
    assert logged[-len(ids) :] == ids


def series(name: str, **labels: str) -> str:
    """Return the name of a series with its labels."""
    told = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return f"berlin_{name}{{{told}}}"


async def test_metrics(tmp_path: Path) -> None:
    """Requests, events, first events, logins and errors of services are counted."""
    cli = Cli(tmp_path)
    bad = answer("503 Busy", b'{"error": {"message": "busy"}}', "Retry-After: 100")
    async with ChatService(["a", "b"]) as one, FaultServer(bad) as other:
        cli.configure(
            "default = 'house'\n"
            + house(one.url, M1)
            + described(cli, "open", f"{other.url}/{token_hex(6)}")
        )
        async with serving(cli) as (process, at):
            for _ in range(3):
                assert (await at.ask(OPENAI, model="house:m1", stream=True)).status == 200
            assert (await at.ask(OLLAMA, model="house:m1")).status == 200
            assert (await at.ask(ANTHROPIC, model="open:m1")).status == 502
            assert (await at.ask(OPENAI, model="made-up-name")).status == 404
            assert (await at.get("/v1/nothing")).status == 404
            got = await metrics(at)
            page = (await at.get("/metrics")).data.decode()
            await stopped(process)

    def count(**labels: Any) -> float:
        return got.get(series("requests_total", **labels), 0)

    assert count(face="openai", provider="house", outcome="ok", status="200") == 3
    assert count(face="ollama", provider="house", outcome="ok", status="200") == 1
    assert (
        count(face="anthropic", provider="open", outcome="upstream_unavailable", status="502") == 1
    )
    assert count(face="openai", provider="other", outcome="model_not_found", status="404") == 1
    assert count(face="openai", provider="other", outcome="not_found", status="404") == 1
    # Two pieces and the end.
    assert got[series("events_total", provider="house")] == 4 * 3
    assert got[series("first_event_seconds_count", provider="house")] == 4
    assert 0 < got[series("first_event_seconds_sum", provider="house")] < 60
    assert got[series("request_seconds_count", face="openai", provider="house")] == 3
    assert got[series("logins_total", provider="house", result="ok")] == 1
    wanted = series("upstream_errors_total", provider="open", code="upstream_unavailable")
    assert got.get(wanted) == 1
    assert got[series("open_streams", face="openai")] == 0
    assert got[series("waiting", provider="house")] == 0
    assert "made-up-name" not in page
    assert "127.0.0.1" not in page


async def test_logins_that_fail_are_counted(tmp_path: Path) -> None:
    """A service that does not know the account is seen in the metrics."""
    cli = Cli(tmp_path)
    async with ChatService(accounts={"account": "another"}) as one:
        cli.configure(house(one.url, M1))
        async with serving(cli) as (process, at):
            assert (await at.ask(OPENAI, model="house:m1")).status == 502
            got = await metrics(at)
            await stopped(process)
    name = series("logins_total", provider="house", result="upstream_authentication")
    assert got[name] == 1


async def test_open_streams_and_the_line_go_up_and_down(tmp_path: Path) -> None:
    """Streams that are open and requests that wait are told as they are now."""
    cli = Cli(tmp_path)
    async with ChatService(["first", HANG]) as one:
        cli.configure(house(one.url, f"{M1}\nat_once = 3"))
        async with serving(cli) as (process, at):
            body = OPENAI.body("Hi", "house:m1", True)
            streams: list[aiohttp.ClientResponse] = []
            for _ in range(3):
                got = await at.session.post(at.url + OPENAI.path, json=body)
                await got.content.readuntil(b"first")
                streams.append(got)
            waits = asyncio.create_task(at.session.post(at.url + OPENAI.path, json=body))
            line = series("waiting", provider="house")
            open_ = series("open_streams", face="openai")
            async with asyncio.timeout(30):
                while (await metrics(at)).get(line) != 1:
                    await asyncio.sleep(0.02)
            waits.cancel()
            for got in streams:
                got.close()
            async with asyncio.timeout(30):
                now = await metrics(at)
                while now[open_] or now[line]:
                    now = await metrics(at)
            left = series(
                "requests_total",
                face="openai",
                provider="house",
                outcome="client_left",
                status="200",
            )
            assert now[left] == 3
            await one.all_closed()
            await stopped(process)
