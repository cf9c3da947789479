"""`berlin add`: from an address to a first answer, as a new user meets it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from support.chat_service import ChatService
from support.cli import Cli, reader
from support.ports import free_port
from support.site import Site, open_site

CHUNKS = (
    'data: {"choices": [{"index": 0, "delta": {"content": "Hi there."}}]}\n\n'
    'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
)
MODELS = {"object": "list", "data": [{"id": "large"}, {"id": "small"}]}
REFUSED = {"error": {"message": "no such key", "type": "invalid_request_error"}}
KEY = "sk-of-mine"


@asynccontextmanager
async def open_openai(keys: set[str] | None = None, prefix: str = "/v1") -> AsyncIterator[Site]:
    """Run a service that speaks as OpenAI does; without `keys` it takes `KEY`, with none of them
    every request."""
    taken = {KEY} if keys is None else keys

    def is_let_in(request: web.BaseRequest) -> bool:
        return not taken or request.headers.get("Authorization", "")[len("Bearer ") :] in taken

    async def models(request: web.BaseRequest) -> web.Response:
        if is_let_in(request):
            return web.json_response(MODELS)
        return web.json_response(REFUSED, status=401)

    async def chat(request: web.BaseRequest) -> web.Response:
        if is_let_in(request):
            return web.Response(text=CHUNKS, content_type="text/event-stream")
        return web.json_response(REFUSED, status=401)

    async with open_site(
        **{f"{prefix}/models": models, f"{prefix}/chat/completions": chat}
    ) as site:
        yield site


@asynccontextmanager
async def open_webui() -> AsyncIterator[Site]:
    """Run what an Open WebUI answers: its configuration, a sign-in, models, and a chat."""
    seen = {"status": True, "name": "Open WebUI", "version": "0.6", "features": {"auth": True}}
    token = "a-token-of-the-webui"

    async def sign_in(request: web.BaseRequest) -> web.Response:
        sent = await request.json()
        if sent != {"email": "ann@example.com", "password": "secret"}:
            return web.json_response({"detail": "The email or password is wrong."}, status=400)
        return web.json_response({"token": token})

    async def models(request: web.BaseRequest) -> web.Response:
        return web.json_response({"data": [{"id": "llama"}]})

    async def chat(request: web.BaseRequest) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {token}"
        return web.Response(text=CHUNKS, content_type="text/event-stream")

    config = web.json_response({**seen, "oauth": {"providers": {}}})
    async with open_site(
        **{
            "/api/config": config,
            "/api/v1/auths/signin": sign_in,
            "/api/models": models,
            "/api/chat/completions": chat,
        }
    ) as site:
        yield site


def written(cli: Cli) -> dict[str, Any]:
    return tomllib.loads(cli.config.read_text("utf-8"))


async def test_an_open_webui_on_a_terminal(tmp_path: Path) -> None:
    """The address is enough: it is recognised, asked for account and password, and answers."""
    cli = Cli(tmp_path)
    async with open_webui() as site:
        async with cli.terminal("add", site.url) as terminal:
            await terminal.sees(f"{site.url} is open-webui: GET /api/config")
            await terminal.fills("Account (email): ", "ann@example.com")
            await terminal.fills("Password: ", "mistyped")
            await terminal.sees("The email or password is wrong. Try again")
            await terminal.fills("Account (email) [ann@example.com]: ", "ann@example.com")
            await terminal.fills("Password: ", "secret")
            await terminal.sees("> Hello")
            await terminal.sees("Hi there.")
            await terminal.sees("berlin chat")
            await terminal.sees("berlin serve")
            assert await terminal.ends() == 0
        assert "secret" not in terminal.text
        assert written(cli) == {
            "default": "open-webui",
            "providers": {
                "open-webui": {"recipe": "open-webui", "url": site.url, "model": "llama"}
            },
        }
        answered = await cli.run("chat", "Hello")
        assert (answered.code, answered.out, answered.err) == (0, "Hi there.\n", "")


async def test_a_key_and_a_model_on_a_terminal(tmp_path: Path) -> None:
    """The key is asked for until it is accepted, and the model until it is one of the list."""
    cli = Cli(tmp_path)
    async with open_openai() as site, cli.terminal("add", site.url, "--name", "work") as terminal:
        await terminal.sees("is openai-compatible: GET /v1/models answers 401")
        await terminal.fills("API key: ", "sk-mistyped")
        await terminal.sees("no such key. Try again")
        await terminal.fills("API key: ", KEY)
        await terminal.sees("2  small")
        await terminal.fills("Model (number or name) [large]: ", "7")
        await terminal.sees("There is no model '7' in the list.")
        await terminal.fills("Model (number or name) [large]: ", "smal")
        await terminal.sees("smal is not in the list; did you mean small")
        await terminal.fills("Use smal anyway? [y/N]: ", "")
        await terminal.fills("Model (number or name) [large]: ", "2")
        await terminal.sees("Hi there.")
        assert await terminal.ends() == 0
        assert KEY not in terminal.text
        assert written(cli)["providers"]["work"] == {
            "recipe": "openai-compatible",
            "url": f"{site.url}/v1",
            "model": "small",
        }
        shown = await cli.run("models", "work")
        assert shown.out == "work:large\nwork:small  *\n"


async def test_the_model_is_asked_for_or_in_the_address(tmp_path: Path) -> None:
    """A service that lists none, and has it in the path of its chats, as n8n does."""
    page = web.Response(text="<title>n8n.io - Workflow Automation</title>")
    chat = web.json_response({"output": "Hi there."})
    typed = {"Account: ": "ann", "Password: ": "secret"}
    asked = {**typed, "Model ({model} in /webhook/{model}/chat): ": "a hook"}
    async with open_site(**{"/": page, "/webhook/a hook/chat": chat}) as site:
        for name, path, answers in (("one", "", asked), ("two", "/webhook/a%20hook/chat", typed)):
            cli = Cli(tmp_path)
            async with cli.terminal("add", site.url + path, "--name", name) as terminal:
                for question, answer in answers.items():
                    await terminal.fills(question, answer)
                await terminal.sees("Hi there.")
                assert await terminal.ends() == 0
            table = {"recipe": "n8n", "url": site.url, "model": "a hook"}
            assert written(cli)["providers"][name] == table


async def test_a_key_from_standard_input_and_a_script(tmp_path: Path) -> None:
    """Without a terminal nothing is asked: the key is a line of standard input."""
    cli = Cli(tmp_path)
    async with open_openai() as site:
        ended = await cli.run("add", site.url, "--password-stdin", stdin=f"{KEY}\n")
    assert (ended.code, ended.out) == (0, "Hi there.\n")
    assert "Added openai-compatible to" in ended.err
    assert KEY not in cli.config.read_text()


async def test_a_service_without_a_key(tmp_path: Path) -> None:
    """Where the key is optional and none is given, the service is used without."""
    async with open_openai(keys=set()) as site:
        ended = await Cli(tmp_path).run("add", f"{site.url}/v1?from=a-browser#here")
    assert (ended.code, ended.out) == (0, "Hi there.\n")


async def test_nothing_is_written_if_the_login_fails(tmp_path: Path) -> None:
    """A refused password ends with 3, and neither file nor login is stored."""
    cli = Cli(tmp_path)
    async with open_webui() as site:
        ended = await cli.run(
            *("add", site.url, "--account", "ann@example.com", "--password-stdin"), stdin="wrong\n"
        )
    assert (ended.code, ended.out) == (3, "")
    assert not cli.config.exists()
    assert not (cli.data / "logins.json").exists()


async def test_an_unknown_service_names_the_next_command(tmp_path: Path) -> None:
    """What nobody knows is told with what it answers, and the commands that describe it."""
    page = web.Response(text="<html><title>Our portal</title></html>", content_type="text/html")
    async with open_site(**{"/": page}) as site:
        ended = await Cli(tmp_path).run("add", site.url)
    assert (ended.code, ended.out) == (2, "")
    assert "it answers 200 with the page 'Our portal'" in ended.err
    assert "  berlin recipe new work.toml --har saved.har\n  berlin add work.toml\n" in ended.err
    assert all("Authorization" not in request.headers for request in site.requests)


async def test_a_recipe_of_ones_own_is_copied_beside_the_configuration(tmp_path: Path) -> None:
    """`berlin add FILE.toml` takes a recipe from anywhere, and what it needs from a script."""
    cli = Cli(tmp_path)
    async with ChatService() as service:
        recipe = tmp_path / "work.toml"
        recipe.write_text(
            'schema = 1\nname = "work"\nextends = "berlin"\ndescription = "Ours"\n'
            f'[endpoint]\nurl = "{service.url}"\n'
        )
        ended = await cli.run(
            *("add", str(recipe), "--account", "account", "--password-stdin"), stdin="password\n"
        )
        assert (ended.code, ended.out) == (0, "Hello, world\n"), ended.err
        again = await cli.run("chat", "Hi")
    assert (again.code, again.out) == (0, "Hello, world\n")
    assert written(cli)["providers"]["work"] == {"recipe": "work.toml"}
    assert (cli.config.parent / "work.toml").read_text() == recipe.read_text()


async def test_a_key_in_the_environment_is_used_and_named(tmp_path: Path) -> None:
    """`berlin add openai` with its variable set needs no question; the file names the variable."""
    cli = Cli(tmp_path)
    ended = await cli.run("add", "openai", "--no-hello", "--model", "m", OPENAI_API_KEY="sk-1")
    assert (ended.code, ended.out) == (0, "")
    assert written(cli)["providers"]["openai"] == {
        "recipe": "openai",
        "model": "m",
        "api_key": {"env": "OPENAI_API_KEY"},
    }
    assert "sk-1" not in cli.config.read_text() + ended.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("panle",), "'panle' is neither a URL nor a recipe"),
        (("opnai",), "did you mean openai?"),
        (("http://chat.example.com",), "--allow-http"),
        (("openai-compatible",), "openai-compatible has no fixed address"),
        (("berlin",), "berlin has no fixed address"),
        (("missing.toml",), "missing.toml does not exist"),
        (("openai", "--name", "guide"), "'guide' is the name of the built-in guide"),
        (("openai",), "API key: there is no terminal to ask on; use --password-stdin, or set"),
        (("openai", "--recipe", "vllm"), "openai is a recipe already"),
        (("https://[::1",), "url is not a URL"),
        (("../../etc/passwd",), "is neither a URL nor a recipe"),
        (("https://a.example", "--url", "https://b.example"), "--url goes with a recipe"),
    ],
)
async def test_mistakes_are_told_before_anything_is_sent(
    tmp_path: Path, args: tuple[str, ...], said: str
) -> None:
    """A wrong name, plain http, or a missing address: one plain error, exit 2."""
    ended = (
        await Cli(tmp_path).run("add", *args, "--recipe", "vllm")
        if "://" in args[0]
        else (await Cli(tmp_path).run("add", *args))
    )
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert "Traceback" not in ended.err


async def test_no_question_without_a_terminal(tmp_path: Path) -> None:
    """Without a terminal a missing password is an error that names the options."""
    async with open_webui() as site:
        ended = await Cli(tmp_path).run("add", site.url)
    assert ended.code == 2
    assert "--password-stdin" in ended.err


async def test_login_at_another_kind_of_service_names_it(tmp_path: Path) -> None:
    """A login that meets another service says what it looks like and what would work."""
    async with open_openai() as site:
        ended = await Cli(tmp_path).run(
            *("login", "open-webui", "--url", site.url, "--account", "a", "--password-stdin"),
            stdin="secret\n",
        )
    assert (ended.code, ended.out) == (2, "")
    assert f"{site.url} looks like openai-compatible" in ended.err
    assert f"Run: berlin add {site.url}" in ended.err


async def test_login_without_an_address_sends_nothing(tmp_path: Path) -> None:
    """`berlin login` alone asks for no password: nobody has named a service."""
    ended = await Cli(tmp_path).run("login", "--account", "a", "--password-stdin", stdin="secret\n")
    assert (ended.code, ended.out) == (2, "")
    assert "berlin needs a URL" in ended.err


async def test_remove_takes_table_and_login(tmp_path: Path) -> None:
    """`berlin remove` takes the table, the login and the default, and leaves comments."""
    cli = Cli(tmp_path)
    async with open_openai() as site:
        await cli.run("add", site.url, "--password-stdin", stdin=f"{KEY}\n")
    cli.config.write_text("# mine\n" + cli.config.read_text())
    ended = await cli.run("remove", "openai-compatible")
    assert (ended.code, ended.err) == (0, "")
    assert "openai-compatible" not in cli.config.read_text()
    assert cli.config.read_text().startswith("# mine\n")
    assert KEY not in (cli.data / "logins.json").read_text()
    again = await cli.run("remove", "openai-compatible")
    assert again.code == 2


async def test_a_second_provider_leaves_the_default_alone(tmp_path: Path) -> None:
    """One provider is the default without saying so; when another is added, the file says so."""
    cli = Cli(tmp_path).configure('# mine\r\n[providers.work]\r\nrecipe = "openai"\r\n')
    given = ("add", "openai", "--no-hello", "--model", "m")
    taken = await cli.run("add", "anthropic", "--name", "work")
    assert (taken.code, "there is another provider 'work' already: openai" in taken.err) == (
        2,
        True,
    )
    added = await cli.run(*given, "--name", "other", OPENAI_API_KEY="sk-1")
    assert added.code == 0, added.err
    assert "berlin chat -m other" in added.err
    text = cli.config.read_bytes()
    assert text.count(b"\r\n") == text.count(b"\n")
    assert written(cli)["default"] == "work"
    removed = await cli.run("remove", "work")
    assert removed.code == 0
    assert "default" not in written(cli)


async def test_a_key_for_another_address_is_not_used(tmp_path: Path) -> None:
    """With `OPENAI_BASE_URL` set the key is for that address; the command that uses it is named."""
    given = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_API_KEY": "sk-1"}
    ended = await Cli(tmp_path).run("add", "openai", **given)
    assert (ended.code, ended.out) == (2, "")
    assert "OPENAI_BASE_URL is set" in ended.err
    assert "run: berlin add openai --url http://127.0.0.1:9/v1" in ended.err
    asked = await Cli(tmp_path).run("chat", "-m", "openai", "Hi", **given)
    assert (asked.code, "run: berlin add openai --url http://127.0.0.1:9/v1" in asked.err) == (
        2,
        True,
    )


async def test_several_providers_and_no_default(tmp_path: Path) -> None:
    """Without a default a question goes nowhere, not to the guide: the error lists the names."""
    tables = "".join(f'[providers.{name}]\nrecipe = "openai"\n' for name in ("a", "b"))
    ended = await Cli(tmp_path).configure(tables).run("chat", "Hello")
    assert (ended.code, ended.out) == (2, "")
    assert 'default = "a". There are: a, b' in ended.err


async def test_a_stored_key_that_is_refused_is_asked_for_again(tmp_path: Path) -> None:
    """Adding a service again replaces a key that stopped working; nothing has to be deleted."""
    cli = Cli(tmp_path)
    keys = {"old"}
    async with open_openai(keys) as site:
        first = await cli.run("add", site.url, "--password-stdin", stdin="old\n")
        assert first.code == 0, first.err
        keys.remove("old")
        keys.add(KEY)
        script = await cli.run("add", site.url)
        assert script.code == 3
        assert "are refused" in script.err
        async with cli.terminal("add", site.url) as terminal:
            await terminal.sees("are refused: ")
            await terminal.fills("API key: ", KEY)
            await terminal.fills("Model (number or name) [large]: ", "")
            await terminal.sees("Hi there.")
            assert await terminal.ends() == 0


MINE = 'schema = 1\nname = "mine"\nextends = "berlin"\ndescription = "Ours"\n'


@asynccontextmanager
async def adding(kind: str, folder: Path) -> AsyncIterator[tuple[list[str], str]]:
    """Run a service of a kind, and give the arguments that add it and its secret."""
    if kind == "a login":
        async with open_webui() as site:
            yield [site.url, "--account", "ann@example.com"], "secret"
    elif kind == "a recipe":
        async with ChatService(["Hi there."]) as service:
            file = folder / "mine.toml"
            file.write_text(f'{MINE}[endpoint]\nurl = "{service.url}"\n')
            yield [str(file), "--account", "account"], "password"
    else:
        async with open_openai() as site:
            yield [site.url], KEY


@pytest.mark.parametrize("kind", ["a login", "a key", "a recipe", "another file"])
async def test_the_suggested_commands_work_as_they_are(tmp_path: Path, kind: str) -> None:
    """Each of the three lines that `berlin add` ends with can be pasted into a shell."""
    cli = Cli(tmp_path)
    cli.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{cli.environ['PATH']}"
    cli.configure(f"[server]\nport = {free_port()}\n")
    more = []
    if kind == "another file":
        more = ["--config", str(cli.config.rename(tmp_path / "another file.toml"))]
    async with adding(kind, tmp_path) as (args, secret):
        added = await cli.run("add", *args, "--password-stdin", *more, stdin=f"{secret}\n")
        assert added.code == 0, added.err
        *_, chat, python, serve, last = (line.strip() for line in added.err.splitlines())
        found = re.fullmatch(r"The last one serves the model (\S+) at (\S+)/v1\.", last)
        assert found is not None, last
        asked, printed = await asyncio.gather(cli.shell(f"echo Hi | {chat}"), cli.shell(python))
        for ended in (asked, printed):
            assert (ended.code, ended.out, ended.err) == (0, "Hi there.\n", "")
        async with cli.start(command=("/bin/sh", "-c", f"exec {serve}")) as process:
            said = await reader(process.stderr).readline()
            assert f"serving {found[1]} on {found[2]}" in said.decode()


STOPS = ["Password: ", "Model (number or name) [a]: "]


@pytest.mark.parametrize("at", STOPS)
async def test_nothing_half_made_is_left(tmp_path: Path, at: str) -> None:
    """Ctrl-C at a question, or a refusal, leaves no copied recipe, login, table or token."""
    cli = Cli(tmp_path)
    async with ChatService() as service:
        file = tmp_path / "mine.toml"
        models = '[models]\nlist = ["a", "b"]\n'
        file.write_text(f'{MINE}{models}[endpoint]\nurl = "{service.url}"\n')
        refused = await cli.run(
            *("add", str(file), "--account", "account", "--password-stdin"), stdin="wrong\n"
        )
        assert refused.code == 3
        async with cli.terminal("add", str(file), "--account", "account") as terminal:
            for question in STOPS[: STOPS.index(at)]:
                await terminal.fills(question, "password")
            await terminal.sees(at)
            # Python misses a signal that comes between its own code and the read of a line.
            for _ in range(6):
                terminal.types("\x03")
                with contextlib.suppress(TimeoutError):
                    assert await terminal.ends() == 130
                    break
    left = [path.name for path in cli.home.rglob("*") if path.is_file()]
    assert not {"mine.toml", "berlin.toml", "logins.json"} & {*left}


async def test_a_recipe_that_extends_another_file_is_copied_by_hand(tmp_path: Path) -> None:
    """A copy without the file that it extends would not work: the error says what to do."""
    file = tmp_path / "mine.toml"
    (tmp_path / "base.toml").write_text(MINE.replace("mine", "base"))
    file.write_text(MINE.replace('"berlin"', '"base.toml"'))
    ended = await Cli(tmp_path).run("add", str(file), "--url", "https://a.example")
    assert (ended.code, ended.out) == (2, "")
    assert "extends base.toml: copy both to " in ended.err
