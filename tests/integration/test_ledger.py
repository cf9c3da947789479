"""The ledger of a gateway, over real sockets and a real SQLite file."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from berlin.cli.gateway.key import keys_path
from berlin.cli.main import run
from berlin.config import Config, LedgerConfig
from berlin.config.tables.prices import Price
from berlin.errors import RateLimitError
from berlin.gateway.access.guard import Guard
from berlin.gateway.access.key_reader import KeyReader
from berlin.gateway.access.keys import KeyStore
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.gateway.faces import usage as face
from berlin.gateway.observe.ledger import Ledger
from berlin.gateway.observe.metrics import PrometheusMetrics
from berlin.gateway.serving.reload import Reload
from berlin.gateway.setup import build_gateway
from berlin.language.toml import parse_toml
from berlin.ledger.database.store import Store
from berlin.ledger.entry import Entry
from berlin.ledger.open import open_recorder, upgrade_ledger
from berlin.ledger.prices import Prices
from berlin.providers.contract import Provider
from berlin.providers.scripted import ScriptedProvider
from berlin.types import Finished, Secret, Started, Usage, UsageReport
from support.cli import Cli
from support.fault_server import FaultServer
from support.fault_steps import Hang, Send, begin_stream
from support.gateway import (
    DIALECTS,
    LAST_FRAME,
    OPENAI,
    RECIPE,
    At,
    frame,
    make_key,
    request_bytes,
    serve,
)
from support.gateway_process import ask, client
from support.postgres import Postgres

PRICES = Prices({"s:*": Price(input=Decimal(1), output=Decimal(10), cached=Decimal("0.5"))})
USAGE = Usage(1000, 200, cached_tokens=400, reasoning_tokens=50)
SSE = "Content-Type: text/event-stream"


def url_of(tmp_path: Path) -> str:
    """Return the URL of the test's SQLite file."""
    return f"sqlite:///{tmp_path}/ledger.sqlite"


@asynccontextmanager
async def recorded(
    tmp_path: Path, provider: Provider, keys: Path | None = None, url: str = ""
) -> AsyncIterator[At]:
    """Serve a provider `s` with a ledger."""
    config = LedgerConfig(url=url or url_of(tmp_path), journal=str(tmp_path / "journal"))
    await asyncio.to_thread(upgrade_ledger, config, {})
    ledger = Ledger(open_recorder(config, {}), PRICES, {"s": "me@example.com"}, "USD")
    gateway = Gateway(
        Catalog([Service("s", provider, ["m1", "m2", "m3"])]),
        Guard(KeyReader(keys) if keys is not None else None),
        metrics=PrometheusMetrics(["s"], ["openai"]),
        ledger=ledger,
    )
    async with serve(gateway=gateway) as at:
        yield at


def rows(tmp_path: Path) -> list[Mapping[str, Any]]:
    """Return all rows of the file, in their order."""
    with sqlite3.connect(tmp_path / "ledger.sqlite") as database:
        database.row_factory = sqlite3.Row
        found = database.execute("SELECT * FROM berlin_requests ORDER BY at").fetchall()
    database.close()
    return [dict(row) for row in found]


def journal_files(tmp_path: Path) -> list[Path]:
    """Return the files of all journals."""
    return list((tmp_path / "journal").glob("*/*"))


async def until(tmp_path: Path, count: int) -> list[Mapping[str, Any]]:
    """Wait until the file has so many rows."""
    async with asyncio.timeout(30):
        while len(found := rows(tmp_path)) < count:
            await asyncio.sleep(0.02)
    return found


async def test_every_dialect_has_a_row_for_each_request(tmp_path: Path) -> None:
    """Streamed or not, in each dialect: one row, with the reported tokens and their cost."""
    answer = [Started("s", "deep-1"), "Hello", UsageReport(USAGE), Finished()]
    async with recorded(tmp_path, ScriptedProvider(answer)) as at:
        for dialect in DIALECTS:
            for stream in (False, True):
                assert (await at.ask(dialect, stream=stream)).status == 200
    found = rows(tmp_path)
    assert [row["face"] for row in found] == [d.face for d in DIALECTS for _ in (0, 1)]
    for row in found:
        assert row["id"].startswith("req_")
        assert (row["provider"], row["model"], row["account"]) == ("s", "deep-1", "me@example.com")
        assert (row["status"], row["outcome"], row["attempts"]) == (200, "ok", 1)
        assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (1000, 200, 0)
        assert (row["cached_tokens"], row["reasoning_tokens"]) == (400, 50)
        # 600 at 1, 400 at 0.5, 200 at 10, for a million.
        assert row["cost_nanos"] == 2_800_000
        assert 0 < row["first_event_ms"] <= row["duration_ms"]
    assert len({row["id"] for row in found}) == len(found)


async def test_tokens_that_nobody_reports_are_estimated(tmp_path: Path) -> None:
    """The row has the estimate that the client was given, and is marked."""
    async with recorded(tmp_path, ScriptedProvider(["Hello, you", Finished()])) as at:
        answer = await at.ask(OPENAI, "How are you?", user="ann")
        told = answer.json["usage"]
        await at.ask(OPENAI, "x" * 30, stream=True)
    whole, streamed = rows(tmp_path)
    assert (whole["input_tokens"], whole["output_tokens"]) == (
        told["prompt_tokens"],
        told["completion_tokens"],
    )
    assert (whole["estimated"], whole["user"], whole["model_asked"]) == (1, "ann", "s:m1")
    assert (whole["cached_tokens"], whole["reasoning_tokens"]) == (None, None)
    assert streamed["input_tokens"] >= 8


async def test_a_client_that_leaves_has_a_row(tmp_path: Path) -> None:
    """It has what was used until then, as an estimate, and its cost."""
    provider = ScriptedProvider(["twelve chars", 60.0])
    async with recorded(tmp_path, provider) as at:
        body = json.dumps(OPENAI.body("Hi there", "s:m1", True)).encode()
        async with at.connection() as (reader, writer):
            writer.write(request_bytes("POST", OPENAI.path, body))
            await reader.readuntil(b"twelve chars")
        (row,) = await until(tmp_path, 1)
    assert (row["outcome"], row["status"], row["estimated"]) == ("client_left", 200, 1)
    assert (row["input_tokens"], row["output_tokens"]) == (2, 3)
    assert row["cost_nanos"] == 32_000


async def test_a_failure_has_a_row_and_a_refused_client_has_none(tmp_path: Path) -> None:
    """Nothing is known of the tokens of a failed request; what reaches no provider has no row."""
    keys = tmp_path / "keys.sqlite"
    key = make_key(keys, "ann")
    provider = ScriptedProvider([RateLimitError("slow down", retry_after=1)])
    async with recorded(tmp_path, provider, keys) as at:
        assert (await at.ask(OPENAI, key="bk-wrong")).status == 401
        assert (await at.ask(OPENAI, model="s:unknown", key=key)).status == 404
        assert (await at.post(OPENAI, b"{", key=key)).status == 400
        assert (await at.ask(OPENAI, key=key)).status == 429
    (row,) = rows(tmp_path)
    assert (row["status"], row["outcome"]) == (429, RateLimitError.code)
    assert (row["input_tokens"], row["output_tokens"], row["cost_nanos"]) == (None, None, None)
    assert row["key"].startswith("k")


async def test_no_file_has_a_prompt_an_answer_or_a_key(tmp_path: Path) -> None:
    """Neither the database nor the journal has any of them, at any time."""
    keys = tmp_path / "keys.sqlite"
    key = make_key(keys, "ann")
    prompt, text = token_hex(16), token_hex(16)
    async with recorded(tmp_path, ScriptedProvider([text, Finished()]), keys) as at:
        await at.ask(OPENAI, prompt, key=key)
        await until(tmp_path, 1)
        files = [*tmp_path.glob("ledger.sqlite*"), *journal_files(tmp_path)]
        assert len(files) >= 3
        data = b"".join(file.read_bytes() for file in files)
    assert b"m1" in data
    for secret in (prompt, text, key):
        assert secret.encode() not in data
    assert {file.stat().st_mode & 0o777 for file in tmp_path.glob("ledger.sqlite*")} == {0o600}


async def test_a23_a_key_sees_its_own_figures_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`GET /v1/usage` sums up the requests of the key that asks."""
    keys = tmp_path / "keys.sqlite"
    ann, bob = make_key(keys, "ann"), make_key(keys, "bob")
    answer = ["Hello", UsageReport(USAGE), Finished()]
    async with recorded(tmp_path, ScriptedProvider(answer), keys) as at:
        for key in (ann, ann, bob):
            await at.ask(OPENAI, key=key)
        await until(tmp_path, 3)

        async def usage(key: str, query: str = "") -> tuple[int, Any]:
            found = await at.get(f"/v1/usage{query}", Authorization=f"Bearer {key}")
            return found.status, found.json

        status, body = await usage(ann, "?by=model")
        assert (status, body["currency"], body["total"]["requests"]) == (200, "USD", 2)
        assert body["total"]["cost"] == "0.005600000"
        assert [one["model"] for one in body["data"]] == ["s:m1"]
        assert (await usage(bob))[1]["total"]["requests"] == 1
        monkeypatch.setattr(face, "MAX_GROUPS", 1)
        for model in ("m2", "m3"):
            await at.ask(OPENAI, key=bob, model=f"s:{model}")
        await until(tmp_path, 5)
        body = (await usage(bob, "?by=model"))[1]  # not more groups, but the whole sum
        assert (len(body["data"]), body["total"]["requests"]) == (1, 3)
        assert (await usage("bk-wrong"))[0] == 401
        for wrong in ("?by=key", "?since=yesterday", "?until=40d", "?zone=Mars", "?key=bob"):
            status, body = await usage(ann, wrong)
            assert (status, body["error"]["param"]) == (400, wrong[1:].partition("=")[0])


async def test_a_gateway_without_a_ledger_has_no_usage(tmp_path: Path) -> None:
    """Then `/v1/usage` is not found."""
    async with serve(Service("s", ScriptedProvider(), ["m1"])) as at:
        assert (await at.get("/v1/usage")).status == 404


async def test_metrics_of_the_ledger(tmp_path: Path) -> None:
    """The page of metrics has what was written, lost, refused, and what waits."""
    async with recorded(tmp_path, ScriptedProvider()) as at:
        await at.ask(OPENAI)
        page = ""
        async with asyncio.timeout(30):
            while "berlin_ledger_rows_total 1.0" not in page:
                page = (await at.get("/metrics")).data.decode()
        assert (await at.get("/readyz")).status == 200
    values = dict(line.split() for line in page.splitlines() if line.startswith("berlin_ledger"))
    for name, value in {"rows_total": 1, "lost_total": 0, "refused_total": 0, "up": 1}.items():
        assert float(values[f"berlin_ledger_{name}"]) == value


async def test_changed_prices_count_at_once(tmp_path: Path) -> None:
    """A reload of the configuration brings prices and accounts to the running ledger."""
    text = (
        f"[ledger]\nurl = '{url_of(tmp_path)}'\njournal = '{tmp_path}/journal'\n"
        "[providers.s]\nclass = 'berlin.providers.scripted:ScriptedProvider'\nmodels = ['m1']\n"
    )
    priced = text + "[prices.'s:*']\ninput = 1\noutput = 1\n"
    before, after = (parse_toml(one, "berlin.toml", Config) for one in (text, priced))
    assert before.ledger is not None
    await asyncio.to_thread(upgrade_ledger, before.ledger, {})
    gateway = build_gateway(before, None)
    async with serve(gateway=gateway) as at:
        await at.ask(OPENAI)
        assert await Reload(gateway, lambda: after)()
        await at.ask(OPENAI)
    assert [row["cost_nanos"] for row in rows(tmp_path)] == [None, 3000]


async def test_postgres_away_costs_no_request(tmp_path: Path, postgres: Postgres) -> None:
    """Requests go on while PostgreSQL is away; each has one row once it is back."""
    url = postgres.new_database()
    async with recorded(tmp_path, ScriptedProvider(), url=url) as at:
        asked = [await at.ask(OPENAI)]
        await asyncio.to_thread(postgres.stop)
        try:
            asked += [await at.ask(OPENAI) for _ in range(5)]
            away = await at.get("/v1/usage")
            assert (await at.get("/readyz")).status == 200
        finally:
            await asyncio.to_thread(postgres.start)
        asked += [await at.ask(OPENAI)]
        sql = "SELECT id FROM berlin_requests ORDER BY at"
        async with asyncio.timeout(40):
            while len(found := await asyncio.to_thread(postgres.query, sql, url)) < 7:
                await asyncio.sleep(0.1)
    assert (away.status, b"127.0.0.1" in away.data) == (503, False)
    assert [answer.status for answer in asked] == [200] * 7
    assert found == [answer.headers["x-request-id"] for answer in asked]


async def test_g28_a_killed_gateway_loses_no_row(tmp_path: Path) -> None:
    """After SIGKILL each request has one row: whole if it had ended, else interrupted."""
    whole = (*begin_stream(frame("one"), LAST_FRAME, headers=(SSE,)), Send(b"0\r\n\r\n"))
    endless = (*begin_stream(frame("two"), headers=(SSE,)), Hang())
    cli = Cli(tmp_path)
    async with FaultServer(whole, endless) as server, client() as session:
        cli.configure(
            f"[ledger]\nurl = '{url_of(tmp_path)}'\njournal = '{tmp_path}/journal'\n"
            "[providers.s]\nrecipe = 's.toml'\napi_key = 'k'\nmodels = ['m1']\n"
        )
        cli.config.chmod(0o600)
        recipe = RECIPE.format(name="s", url=f"{server.url}/{token_hex(6)}", format="openai-chat")
        (cli.config.parent / "s.toml").write_text(recipe, "utf-8")
        refused = await cli.run("serve", "--port", "0")
        assert (refused.code, "berlin ledger upgrade" in refused.err) == (2, True)
        assert (await cli.run("ledger", "upgrade")).code == 0
        async with cli.serve() as (process, url):
            assert (await ask(session, url))[0] == 200
            async with session.post(
                url + OPENAI.path, json=OPENAI.body("Hi", "s:m1", True)
            ) as answer:
                await answer.content.readuntil(b"two")
                process.send_signal(signal.SIGKILL)
                await process.wait()
        async with cli.serve() as (process, _):
            found = await until(tmp_path, 2)
            process.terminate()
            await process.wait()
    assert [row["outcome"] for row in found] == ["ok", "interrupted"]
    assert journal_files(tmp_path) == []


def test_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`berlin usage` needs a ledger, and its tables; then it shows what there is."""
    config = tmp_path / "berlin.toml"
    config.write_text("")
    config.chmod(0o600)
    monkeypatch.setenv("BERLIN_CONFIG", str(config))
    assert run(["usage"]) == 2
    assert "[ledger]" in capsys.readouterr().err
    config.write_text(f"[ledger]\nurl = '{url_of(tmp_path)}'\n")
    assert run(["usage"]) == 2
    assert "berlin ledger upgrade" in capsys.readouterr().err
    assert run(["ledger", "upgrade"]) == 0
    assert run(["ledger", "upgrade"]) == 0
    assert capsys.readouterr().out == (
        "The ledger is upgraded from revision none to 0001.\n"
        "The ledger is up to date (revision 0001).\n"
    )
    assert run(["usage", "--by", "model"]) == 0
    assert capsys.readouterr().out == "No requests in this time.\n"
    assert run(["usage", "--csv"]) == 0
    assert capsys.readouterr().out.startswith("day,requests,failed,")
    assert run(["usage", "--json", "--since", "2026-11-01", "--zone", "Europe/Moscow"]) == 0
    assert json.loads(capsys.readouterr().out)["since"] == "2026-11-01T00:00:00+03:00"
    assert run(["usage", "--since", "yesterday"]) == 2
    assert "such as 7d" in capsys.readouterr().err
    assert run(["usage", "--until", "40d"]) == 2
    assert "not after --since" in capsys.readouterr().err
    assert run(["usage", "--key", "nobody"]) == 0
    assert "No key is named 'nobody'" in capsys.readouterr().err


def test_keys_have_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`berlin usage` shows the name of each key, and takes it."""
    config = tmp_path / "berlin.toml"
    config.write_text(f"[ledger]\nurl = '{url_of(tmp_path)}'\n")
    config.chmod(0o600)
    monkeypatch.setenv("BERLIN_CONFIG", str(config))
    assert run(["ledger", "upgrade"]) == 0
    assert run(["key", "add", "ann"]) == 0
    id = KeyStore(keys_path()).entries()[0].id

    async def fill() -> None:
        store = Store(Secret(url_of(tmp_path)))
        now = time.time_ns() // 1000
        names = {"r1": id, "r2": id, "r3": "k_unknown"}
        await store.insert([Entry(id=r, at_us=now, key=k, outcome="ok") for r, k in names.items()])
        await store.close()

    asyncio.run(fill())
    capsys.readouterr()
    assert run(["usage", "--by", "key", "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [[f"ann ({id})", "2"], ["k_unknown", "1"]]
    for named in ("ann", id):
        assert run(["usage", "--by", "day", "--key", named, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["total"]["requests"] == 2
