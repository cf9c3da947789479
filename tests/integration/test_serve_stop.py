"""`berlin serve` stops in order: what is open may end, what is new is refused."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from secrets import token_hex

import pytest

from support.chat_service import HANG, ChatService
from support.cli import Cli, reader
from support.fault_server import FaultServer
from support.fault_steps import Hang
from support.gateway import DIALECTS, OPENAI, WITH_KEYS, Dialect
from support.serving import add_account, described, ended, hears, house, serving, stopped

M1 = "models = ['m1']\nmodel = 'm1'"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
async def test_streams_of_all_faces_end(number: signal.Signals, tmp_path: Path) -> None:
    """Ready no more, no new work on any face, and each open answer comes to its end; exit 0."""
    cli = Cli(tmp_path)
    go_on = asyncio.Event()
    async with ChatService(["first", go_on, "last"]) as one:
        cli.configure("[server]\ngrace_s = 20\n" + house(one.url, M1))
        await add_account(cli)
        async with serving(cli) as (process, at):
            headers = {dialect: await at.headers(dialect) for dialect in DIALECTS}
            asking = [
                asyncio.create_task(at.ask(dialect, model="house:m1", stream=True))
                for dialect in WITH_KEYS
            ]
            await one.seen(chats=len(WITH_KEYS))
            process.send_signal(number)
            await hears(process, "berlin: stopping")
            ready = await at.get("/readyz")
            while ready.status == 200:
                ready = await at.get("/readyz")
            assert (ready.status, ready.json) == (503, {"status": "stopping"})
            assert ready.headers["Retry-After"] == "1"
            assert (await at.get("/healthz")).status == 200
            for dialect in DIALECTS:
                refused = await at.ask(dialect, model="house:m1", headers=headers[dialect])
                assert refused.status == 503
                assert refused.headers["Retry-After"] == "1"
                assert refused.message == "the service is stopping; try again"
            go_on.set()
            for got, dialect in zip(await asyncio.gather(*asking), WITH_KEYS, strict=True):
                assert (got.status, got.text) == (200, "firstlast")
                assert dialect.is_whole(got.data)
            assert await ended(process) == ""
        assert len(one.chats) == len(WITH_KEYS)


@pytest.mark.parametrize("dialect", WITH_KEYS, ids=str)
async def test_end_of_the_grace(dialect: Dialect, tmp_path: Path) -> None:
    """What is open when the grace is over ends with an error that says why; exit 0."""
    cli = Cli(tmp_path)
    async with ChatService(["first", HANG]) as one:
        cli.configure("[server]\ngrace_s = 0.3\n" + house(one.url, M1))
        async with serving(cli) as (process, at):
            body = dialect.body("Hi", "house:m1", True)
            async with at.session.post(at.url + dialect.path, json=body) as got:
                data = await got.content.readuntil(b"first")
                process.terminate()
                data += await got.read()
            assert dialect.pieces(data) == ["first"]
            assert (
                dialect.error_in(data)
                == "the service is stopping; try again (after 1 event of the answer)"
            )
            assert not dialect.is_whole(data)
            assert await ended(process) == "berlin: stopping\n"
        await one.all_closed()


async def test_whole_answers_are_let_end_and_cut_like_streams(tmp_path: Path) -> None:
    """A client that waits for a whole answer gets a 503 when the grace is over."""
    cli = Cli(tmp_path)
    async with ChatService(["first", HANG]) as one:
        cli.configure("[server]\ngrace_s = 0.3\n" + house(one.url, M1))
        async with serving(cli) as (process, at):
            asking = asyncio.create_task(at.ask(OPENAI, model="house:m1"))
            await one.seen(chats=1)
            process.terminate()
            got = await asking
            assert (got.status, got.json["error"]["code"]) == (503, "unavailable")
            await ended(process)
        await one.all_closed()


async def test_second_signal_changes_nothing(tmp_path: Path) -> None:
    """Who is impatient does not break what may still end."""
    cli = Cli(tmp_path)
    go_on = asyncio.Event()
    async with ChatService(["first", go_on, "last"]) as one:
        cli.configure("[server]\ngrace_s = 20\n" + house(one.url, M1))
        async with serving(cli) as (process, at):
            asking = asyncio.create_task(at.ask(OPENAI, model="house:m1", stream=True))
            await one.seen(chats=1)
            process.terminate()
            await hears(process, "berlin: stopping")
            process.terminate()
            go_on.set()
            assert (await asking).text == "firstlast"
            assert await ended(process) == ""


async def test_signal_as_soon_as_it_serves(tmp_path: Path) -> None:
    """A signal right after the first line is an orderly stop."""
    cli = Cli(tmp_path)
    async with cli.start("serve", "--port", "0") as process:
        line = await reader(process.stderr).readline()
        process.terminate()
        assert line.startswith(b"berlin: serving guide on http://127.0.0.1:")
        assert await ended(process) == "berlin: stopping\n"


async def test_stop_while_a_service_is_asked_for_its_models(tmp_path: Path) -> None:
    """A question that is under way in the background holds up no stop."""
    cli = Cli(tmp_path)
    async with FaultServer((Hang(),)) as hanging:
        table = described(cli, "open", f"{hanging.url}/{token_hex(6)}", "")
        recipe = cli.config.parent / "open.toml"
        fetch = "[models.fetch]\npath = '/models'\nlist = '/data'\nid = '/id'\n"
        recipe.write_text(recipe.read_text() + fetch)
        cli.configure(table)
        async with serving(cli) as (process, _):
            async with asyncio.timeout(30):
                while not hanging.requests:
                    await asyncio.sleep(0.01)
            assert await stopped(process) == "berlin: stopping\n"
