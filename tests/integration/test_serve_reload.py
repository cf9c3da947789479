"""`berlin serve` takes up a changed configuration while it runs."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from secrets import token_hex

from support.answers import SSE, Said, openai_answer
from support.chat_service import ChatService, Piece, Request
from support.cli import Cli
from support.fault_server import FaultServer
from support.fault_steps import Script, answer, stream
from support.gateway import OPENAI, At
from support.serving import described, hears, house, serving, stopped


def talking(text: str) -> Script:
    """Return the script of a service that says something."""
    return stream(*openai_answer(Said((text,))), headers=(SSE,))


async def until(condition: Callable[[], Awaitable[bool]], within: float = 30.0) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(0.02)


async def names(at: At) -> list[str]:
    """Return the names of all models."""
    return [model["id"] for model in (await at.get("/v1/models")).json["data"]]


async def test_new_provider_and_alias_appear(tmp_path: Path) -> None:
    """At SIGHUP a provider and an alias of the changed file are there; the old login is kept."""
    cli = Cli(tmp_path)
    async with ChatService() as one, FaultServer(talking("new")) as two:
        first = house(one.url, "models = ['m1']\nmodel = 'm1'")
        cli.configure(first)
        async with serving(cli) as (process, at):
            assert (await at.ask(OPENAI, model="house:m1")).text == "Hello, world"
            assert (await at.ask(OPENAI, model="open:m1")).status == 404
            more = described(cli, "open", f"{two.url}/{token_hex(6)}")
            cli.configure("default = 'house'\n[aliases]\nfast = 'open:m1'\n" + first + more)
            process.send_signal(signal.SIGHUP)
            said = await hears(process, "config.loaded")
            assert "providers=house,open" in said
            assert await names(at) == ["fast", "house", "house:m1", "open", "open:m1"]
            assert (await at.ask(OPENAI, model="fast")).text == "new"
            assert (await at.ask(OPENAI, model="house:m1")).text == "Hello, world"
            await stopped(process)
        assert one.login_count == {"account": 1}
        assert {request.connection for request in one.chats} == {1}


async def test_changed_recipe_is_taken_up(tmp_path: Path) -> None:
    """A recipe beside the file is watched too: without a signal the other URL is asked."""
    cli = Cli(tmp_path)
    async with FaultServer(talking("old")) as old, FaultServer(talking("new")) as new:
        cli.configure(described(cli, "open", f"{old.url}/{token_hex(6)}"))
        async with serving(cli) as (process, at):
            assert (await at.ask(OPENAI, model="open:m1")).text == "old"
            described(cli, "open", f"{new.url}/{token_hex(6)}")
            await hears(process, "config.loaded")
            assert (await at.ask(OPENAI, model="open:m1")).text == "new"
            # The connection of the one that is gone does not stay open.
            assert await old.connections[0].left_by_client()
            await stopped(process)


async def test_d10_half_a_file_changes_nothing(tmp_path: Path) -> None:
    """While a file is being written the old one holds; when it is whole it is taken up."""
    cli = Cli(tmp_path)
    async with ChatService() as one, FaultServer(talking("new")) as two:
        first = house(one.url, "models = ['m1']\nmodel = 'm1'")
        more = described(cli, "open", f"{two.url}/{token_hex(6)}")
        cli.configure(first)
        async with serving(cli) as (process, at):
            whole = ("default = 'house'\n" + first + more).encode()
            half = whole.index(b"open.toml")
            with cli.config.open("wb", buffering=0) as file:
                file.write(whole[:half])
                kept = await hears(process, "config.kept")
                assert "berlin.toml" in kept
                assert (await at.ask(OPENAI, model="house:m1")).status == 200
                file.write(whole[half:])
            await hears(process, "config.loaded")
            assert (await at.ask(OPENAI, model="open:m1")).text == "new"
            await stopped(process)


async def test_file_that_another_takes_the_place_of(tmp_path: Path) -> None:
    """Editors and deployments that rename a new file into place are noticed."""
    cli = Cli(tmp_path)
    async with ChatService() as one:
        cli.configure(house(one.url, "models = ['m1']\nmodel = 'm1'"))
        async with serving(cli) as (process, at):
            other = cli.config.with_suffix(".new")
            other.write_text(house(one.url, "models = ['m1', 'm2']\nmodel = 'm1'"))
            os.replace(other, cli.config)
            await hears(process, "config.loaded")
            assert await names(at) == ["house", "house:m1", "house:m2"]
            await stopped(process)


async def test_file_that_is_gone(tmp_path: Path) -> None:
    """Without a file what was there goes on: no gateway turns into the guide by mistake."""
    cli = Cli(tmp_path)
    async with ChatService() as one:
        cli.configure(house(one.url, "models = ['m1']\nmodel = 'm1'"))
        async with serving(cli) as (process, at):
            cli.config.unlink()
            process.send_signal(signal.SIGHUP)
            await hears(process, "config.")
            assert await names(at) == ["house", "house:m1"]
            assert (await at.ask(OPENAI, model="house:m1")).text == "Hello, world"
            await stopped(process)


async def test_stream_goes_on_while_its_provider_is_removed(tmp_path: Path) -> None:
    """The answer ends as it would have; then the provider's connections are closed."""
    cli = Cli(tmp_path)
    go_on = asyncio.Event()
    pieces: list[Piece] = ["first"]

    def say(_: Request) -> list[Piece]:
        return [*pieces, 0.05] * 100 if not go_on.is_set() else pieces

    async with ChatService() as one, FaultServer(talking("stays")) as two:
        one.pieces = say
        rest = described(cli, "open", f"{two.url}/{token_hex(6)}")
        cli.configure("default = 'open'\n" + house(one.url, "models = ['m1']") + rest)
        async with serving(cli) as (process, at):
            body = OPENAI.body("Hi", "house:m1", True)
            async with at.session.post(at.url + OPENAI.path, json=body) as got:
                data = await got.content.readuntil(b"first")
                cli.configure(rest)
                process.send_signal(signal.SIGHUP)
                await hears(process, "config.loaded")
                assert await names(at) == ["open", "open:m1"]
                assert (await at.ask(OPENAI, model="house:m1")).status == 404
                assert (await at.ask(OPENAI, model="open:m1")).text == "stays"
                assert one.open == 1
                data += await got.read()
            assert "".join(OPENAI.pieces(data)) == "first" * 100
            assert OPENAI.is_whole(data)
            await one.all_closed()
            assert process.returncode is None
            await stopped(process)


async def test_models_of_a_new_provider_are_fetched(tmp_path: Path) -> None:
    """A provider that comes with a reload is asked for its models at once too."""
    cli = Cli(tmp_path)
    models = answer("200 OK", b'{"data":[{"id":"big"}]}')
    async with ChatService() as one, FaultServer(models) as two:
        first = house(one.url, "models = ['m1']\nmodel = 'm1'")
        cli.configure(first)
        async with serving(cli) as (process, at):
            more = described(cli, "open", f"{two.url}/{token_hex(6)}", "")
            recipe = cli.config.parent / "open.toml"
            fetch = "[models.fetch]\npath = '/models'\nlist = '/data'\nid = '/id'\n"
            recipe.write_text(recipe.read_text() + fetch)
            cli.configure("default = 'house'\n" + first + more)
            await hears(process, "config.loaded")

            async def known() -> bool:
                return "open:big" in await names(at)

            await until(known)
            await stopped(process)


async def test_hosts_and_origins_are_taken_up(tmp_path: Path) -> None:
    """Names of the gateway and origins of pages hold from the reload on."""
    cli = Cli(tmp_path).configure("[server]\n")
    origin = {"Origin": "https://chat.example.com"}
    named = {"Host": "llm.example.com"}
    async with serving(cli) as (process, at):
        assert (await at.ask(OPENAI, model="guide", headers=origin)).status == 403
        assert (await at.ask(OPENAI, model="guide", headers=named)).status == 421
        cli.configure(
            "[server]\nallowed_hosts = ['llm.example.com']\n"
            "cors_origins = ['https://chat.example.com']\n"
        )
        await hears(process, "config.loaded")
        got = await at.ask(OPENAI, model="guide", headers=origin)
        assert got.status == 200
        assert got.headers["Access-Control-Allow-Origin"] == origin["Origin"]
        assert (await at.ask(OPENAI, model="guide", headers=named)).status == 200
        await stopped(process)


async def test_many_reloads_leave_nothing_behind(tmp_path: Path) -> None:
    """After forty reloads with another provider each, no connection to the old ones is open."""
    cli = Cli(tmp_path)
    async with ChatService() as one:
        cli.configure(house(one.url, "models = ['m0']\nmodel = 'm0'"))
        async with serving(cli) as (process, at):
            for n in range(40):
                assert (await at.ask(OPENAI, model=f"house:m{n}")).text == "Hello, world"
                cli.configure(house(one.url, f"models = ['m{n + 1}']\nmodel = 'm{n + 1}'"))
                process.send_signal(signal.SIGHUP)
                await hears(process, "config.loaded")

            async def only_ours() -> bool:
                return one.open == 0

            await until(only_ours)
            descriptors = len(os.listdir(f"/proc/{process.pid}/fd"))
            assert descriptors < 40
            await stopped(process)
