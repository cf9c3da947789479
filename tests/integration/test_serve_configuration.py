"""`berlin serve` from a configuration: providers, aliases, keys, limits, wrong files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from secrets import token_hex

import pytest

from support.answers import SSE, Said, openai_answer
from support.chat_service import ChatService
from support.cli import Cli
from support.fault_server import FaultServer
from support.fault_steps import Hang, answer, stream
from support.gateway import ANTHROPIC, BERLIN, DIALECTS, OLLAMA, OPENAI
from support.serving import add_account, described, house, serving, stopped

TALKING = stream(*openai_answer(Said(("from ", "open"))), headers=(SSE,))
MODELS = answer("200 OK", b'{"data":[{"id":"org/big:7b"},{"id":"small"}]}')


async def test_several_providers_aliases_and_models(tmp_path: Path) -> None:
    """Every face reaches every provider by each of its names, and lists them all."""
    cli = Cli(tmp_path)
    async with ChatService() as one, FaultServer(TALKING) as other:
        cli.configure(
            "default = 'house'\n"
            + "[aliases]\nfast = 'open:org/m:7b'\n"
            + house(one.url, "models = ['m1', 'm2']\nmodel = 'm1'")
            + described(cli, "open", f"{other.url}/{token_hex(6)}", "models = ['org/m:7b']")
        )
        await add_account(cli)
        async with serving(cli) as (process, at):
            listed = [model["id"] for model in (await at.get("/v1/models")).json["data"]]
            assert listed == ["fast", "house", "house:m1", "house:m2", "open", "open:org/m:7b"]
            owners = {m["id"]: m["owned_by"] for m in (await at.get("/v1/models")).json["data"]}
            assert (owners["fast"], owners["house:m2"]) == ("open", "house")
            for dialect in DIALECTS:
                for model, text in (
                    ("fast", "from open"),
                    ("open:org/m:7b", "from open"),
                    ("house", "Hello, world"),
                    ("house:m2", "Hello, world"),
                    ("m2", "Hello, world"),
                ):
                    options = {"options": {"model": model}} if dialect is BERLIN else {}
                    got = await at.ask(dialect, model=model, stream=True, **options)
                    assert (got.status, got.text) == (200, text), (dialect.name, model)
            missing = await at.ask(OPENAI, model="open:other")
            assert (missing.status, missing.json["error"]["code"]) == (404, "model_not_found")
            assert await stopped(process) == "berlin: stopping\n"
        asked = [request.json["options"]["model"] for request in one.chats]
        assert asked == ["m1", "m2", "m2"] * len(DIALECTS)
        assert one.login_count == {"account": 1}
        assert b'"model":"org/m:7b"' in other.requests[-1].body.replace(b": ", b":")


async def test_each_provider_gets_its_own_credentials(tmp_path: Path) -> None:
    """No key and no token of one provider reaches another."""
    cli = Cli(tmp_path)
    async with ChatService() as one, FaultServer(TALKING) as two, FaultServer(TALKING) as three:
        cli.configure(
            house(one.url, "models = ['m1']")
            + described(cli, "two", f"{two.url}/{token_hex(6)}")
            + described(cli, "three", f"{three.url}/{token_hex(6)}")
        )
        async with serving(cli) as (process, at):
            for name in ("house", "two", "three"):
                assert (await at.ask(OPENAI, model=f"{name}:m1")).status == 200
            await stopped(process)
        assert one.violations == []
        assert "Authorization" not in one.chats[0].headers
        assert two.requests[0].headers["authorization"] == "Bearer key-of-two"
        assert three.requests[0].headers["authorization"] == "Bearer key-of-three"
        assert not {"token", "cookie"} & (
            set(two.requests[0].headers) | set(three.requests[0].headers)
        )


async def test_keys_limit_models_and_requests(tmp_path: Path) -> None:
    """A key reaches its models on all faces, and so many times a minute."""
    cli = Cli(tmp_path)
    async with ChatService() as one:
        cli.configure(house(one.url, "models = ['m1', 'm2']") + "[aliases]\nfast = 'house:m2'\n")
        free = (await cli.run("key", "add", "ann")).out.strip()
        bound = (
            await cli.run("key", "add", "bob", "--model", "house:m1", "--rpm", "3")
        ).out.strip()
        async with serving(cli) as (process, at):
            for dialect in (OPENAI, ANTHROPIC, OLLAMA):
                assert (await at.ask(dialect, model="house:m1")).status == 401
                assert (await at.ask(dialect, model="fast", key=free)).status == 200
                assert (await at.ask(dialect, model="house:m1", key=bound)).status == 200
                assert (await at.ask(dialect, model="fast", key=bound)).status == 404
            over = await at.ask(OPENAI, model="house:m1", key=bound)
            assert (over.status, over.json["error"]["code"]) == (429, "rate_limit_exceeded")
            assert 0 < int(over.headers["Retry-After"]) <= 61
            assert (await at.ask(OPENAI, model="house:m1", key=free)).status == 200
            await stopped(process)
        assert len(one.chats) == 7


async def test_limits_of_a_provider(tmp_path: Path) -> None:
    """With one place and one in the line the third request is a 429, the others go on."""
    cli = Cli(tmp_path)
    go_on = asyncio.Event()

    async def wait(_: object) -> None:
        await go_on.wait()

    async with ChatService() as one:
        one.on_chat = wait
        cli.configure(house(one.url, "models = ['m1']\nat_once = 1\nwaiting = 1"))
        async with serving(cli) as (process, at):
            asking = [asyncio.create_task(at.ask(OPENAI, model="house:m1")) for _ in range(3)]
            async with asyncio.timeout(30):
                [over] = (await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED))[0]
            assert over.result().status == 429
            assert over.result().headers["Retry-After"] == "2"
            await one.seen(chats=1)
            go_on.set()
            answers = [await task for task in asking if task is not over]
            assert [(a.status, a.text) for a in answers] == [(200, "Hello, world")] * 2
            await stopped(process)
        assert len(one.chats) == 2


async def test_models_of_the_file_are_all_that_there_are(tmp_path: Path) -> None:
    """With `models` no other is offered or asked, and the first is the default."""
    cli = Cli(tmp_path)
    async with ChatService() as one:
        cli.configure(house(one.url, "models = ['m1', 'm2']"))
        async with serving(cli) as (process, at):
            models = (await at.get("/v1/models")).json["data"]
            assert [model["id"] for model in models] == ["house", "house:m1", "house:m2"]
            for name in ("house", ""):
                got = await at.ask(OPENAI, model=name)
                assert got.headers["x-berlin-model"] == "house:m1"
            assert (await at.ask(OPENAI, model="house:gpt-3.5-turbo")).status == 404
            await stopped(process)
        assert [request.json["options"]["model"] for request in one.chats] == ["m1", "m1"]


async def test_models_that_a_service_lists(tmp_path: Path) -> None:
    """What a service lists is offered soon after the start, and by its own names."""
    cli = Cli(tmp_path)
    async with FaultServer(MODELS, TALKING) as server:
        table = described(cli, "open", f"{server.url}/{token_hex(6)}", "")
        recipe = cli.config.parent / "open.toml"
        fetch = "[models.fetch]\npath = '/models'\nlist = '/data'\nid = '/id'\n"
        recipe.write_text(recipe.read_text() + fetch)
        cli.configure(table)
        async with serving(cli) as (process, at):
            listed: list[str] = []
            async with asyncio.timeout(30):
                while len(listed) < 3:
                    models = (await at.get("/v1/models")).json["data"]
                    listed = [model["id"] for model in models]
            assert listed == ["open", "open:org/big:7b", "open:small"]
            assert (await at.ask(OPENAI, model="org/big:7b")).text == "from open"
            await stopped(process)


async def test_a_service_that_hangs_holds_up_nothing(tmp_path: Path) -> None:
    """While a service does not say which models it has, all else goes on."""
    cli = Cli(tmp_path)
    async with ChatService() as one, FaultServer((Hang(),)) as hanging:
        table = described(cli, "open", f"{hanging.url}/{token_hex(6)}", "")
        recipe = cli.config.parent / "open.toml"
        fetch = "[models.fetch]\npath = '/models'\nlist = '/data'\nid = '/id'\n"
        recipe.write_text(recipe.read_text() + fetch)
        cli.configure(
            "default = 'house'\n" + house(one.url, "models = ['m1']\nmodel = 'm1'") + table
        )
        async with serving(cli) as (process, at):
            async with asyncio.timeout(30):
                while not hanging.requests:
                    await asyncio.sleep(0.01)
                models = (await at.get("/v1/models")).json["data"]
                assert (await at.ask(OPENAI, model="m1")).text == "Hello, world"
            assert [model["id"] for model in models] == ["house", "house:m1", "open"]
            await stopped(process)


WRONG = [
    (
        "[server]\nprot = 1\n",
        "berlin.toml, line 2: unknown key 'prot' in [server]; did you mean 'port'?",
    ),
    (
        "\n\n[severs]\nport = 1\n",
        "berlin.toml, line 3: unknown key 'severs' at the top level; did you mean 'server'?",
    ),
    ("[server]\nport = 'x'\n", "berlin.toml, line 2: Expected `int`, got `str`"),
    ("[server]\nport = 70000\n", "berlin.toml, line 2: Expected `int` <= 65535 - at `server.port`"),
    ("[server\n", "berlin.toml is not valid TOML: "),
    ("[server]\ncors_origins = ['*']\n", "cors_origins takes no '*': name the origins"),
    ("[server]\nprovider = 'gone'\n", "no provider 'gone'; there are: berlin, guide"),
    ("default = 'gone'\n", "berlin.toml: default = 'gone' is neither a provider"),
    ("[providers.s]\nrecipe = 'gone.toml'\n", "gone.toml cannot be read: "),
    ("[providers.s]\nrecipe = 'berln'\n", "'berln'"),
    (
        "[providers.s]\nat_onec = 3\n",
        "line 2: unknown key 'at_onec' in [providers.s]; did you mean 'at_once'?",
    ),
    ("[providers.s]\nat_once = 0\n", "Expected `int` >= 1 - at `providers.s.at_once`"),
    ("[aliases]\na = 'guide'\nb = 'a'\n", "the alias 'b' means 'a', which is an alias too"),
    ("[aliases]\na = 'nobody:x'\n", "the alias 'a' means 'nobody:x': no such model"),
]


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("config", "check")], ids="-".join)
@pytest.mark.parametrize(("text", "words"), WRONG)
async def test_a_wrong_file_never_starts(
    text: str, words: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    """One line says file, line and the nearest name; the check says what the start would say."""
    refused = await Cli(tmp_path).configure(text).run(*command)
    assert (refused.code, refused.out) == (2, "")
    assert words in refused.err
    assert refused.err.startswith("berlin: ")
    assert refused.err.count("\n") == 1


async def test_config_check(tmp_path: Path) -> None:
    """It tells each provider and alias, sends nothing, and shows no secret."""
    cli = Cli(tmp_path)
    async with ChatService() as one:
        cli.configure(
            house(one.url, "models = ['m1']")
            + described(cli, "open", "http://127.0.0.1:1/v1")
            + "[aliases]\nfast = 'open:m1'\n"
        )
        told = await cli.run("config", "check")
        assert one.opened == 0
    assert (told.code, told.err) == (0, "")
    assert told.out.splitlines() == [
        f"house: berlin at {one.url}; credentials from: configuration",
        "open: open at http://127.0.0.1:1/v1; credentials from: configuration",
        "fast: means open:m1",
        f"{cli.config}: good",
    ]
    limited = '[limits.models]\n"nobody:*" = ["5 USD/day"]\n'
    for more, code, said in (
        (limited, 0, "nothing is named 'nobody:*'"),
        ('[keys]\nstore = "mysql://u:pw@h/d"\n', 2, "[keys] store is not the URL"),
        ('[shared]\nredis = { env = "NO_SUCH" }\n', 2, "NO_SUCH"),
        ('[ledger]\nurl = "mysql://u:pw@h/d"\n', 2, "ledger.url is not the URL"),
        ('[ledger]\nurl = { env = "NO_SUCH" }\n', 2, "NO_SUCH"),
        ('[issuers.a]\nissuer = "http://a.example"\naudience = "b"\n', 2, "http://a.example"),
    ):
        cli.configure(more)
        told = await cli.run("config", "check")
        assert (told.code, said in told.err, "pw" in told.err) == (code, True, False), more
    path = await cli.run("config", "path")
    assert (path.code, path.out) == (0, f"{cli.config}\n")


async def test_config_check_of_another_file(tmp_path: Path) -> None:
    """`--config` names the file, and a recipe stands beside that one."""
    cli = Cli(tmp_path)
    table = described(cli, "open", "http://127.0.0.1:1/v1")
    other = cli.config.parent / "other.toml"
    other.write_text(table)
    told = await cli.run("config", "check", "--config", str(other))
    assert (told.code, told.out.splitlines()[-1]) == (0, f"{other}: good")
    gone = await cli.run("config", "check", "--config", str(tmp_path / "gone.toml"))
    assert (gone.code, gone.out) == (2, "")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "host.example.com"])
async def test_it_is_not_reached_from_elsewhere_without_keys(host: str, tmp_path: Path) -> None:
    """An address beyond this machine in the file is refused as one on the command line is."""
    cli = Cli(tmp_path).configure(f"[server]\nhost = '{host}'\n")
    refused = await cli.run("serve", "--port", "0")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        f"berlin: {host} can be reached from other machines, and there are no keys: add one first, "
        "with `berlin key add NAME`\n"
    )
