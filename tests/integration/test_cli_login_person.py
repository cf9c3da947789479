"""Logins in which a person takes part, at a pseudo terminal: a pasted session, a one-time code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from support.cli import Cli
from support.site import Site, open_site

SESSION = "sess-4b8e1f6a9c3d"
RECIPE = """
schema = 1
name = "work"
description = "A chat with a code by e-mail"
[endpoint]
url = "{url}"
[auth]
flow = "login"
attach = {{ cookie = "session" }}
[[auth.steps]]
path = "/login"
json = {{ user = "{{account}}", password = "{{password}}" }}
take = {{ ticket = "/ticket" }}
[[auth.steps]]
path = "/verify"
json = {{ ticket = "{{ticket}}", code = "{{code}}" }}
take = {{ token = {{ cookie = "session" }} }}
[chat]
path = "/ask"
json = {{ q = "{{prompt}}" }}
[chat.stream]
framing = "ndjson"
text = "/t"
"""


async def _log_in(request: web.BaseRequest) -> web.Response:
    good = '"password":"correct-horse"' in await request.text()
    return web.json_response({"ticket": "t-1"}, status=200 if good else 403)


async def _verify(request: web.BaseRequest) -> web.Response:
    if '"code":"123456"' not in await request.text():
        return web.json_response({"message": "wrong code"}, status=403)
    return web.Response(text="{}", headers={"Set-Cookie": f"session={SESSION}; Path=/"})


async def _ask(request: web.BaseRequest) -> web.Response:
    if request.cookies.get("session") != SESSION:
        return web.Response(status=302, headers={"Location": "/login"})
    return web.Response(text='{"t": "Hello Ann."}\n')


@asynccontextmanager
async def service(cli: Cli) -> AsyncIterator[Site]:
    """Run the service, and configure it for a user."""
    async with open_site(**{"/login": _log_in, "/verify": _verify, "/ask": _ask}) as site:
        cli.configure('[providers.work]\nrecipe = "work.toml"\n')
        (cli.config.parent / "work.toml").write_text(RECIPE.format(url=site.url))
        yield site


async def test_a_pasted_session(tmp_path: Path) -> None:
    """`berlin login --cookie` takes what the browser sends, without showing it, and keeps it."""
    cli = Cli(tmp_path)
    async with service(cli) as site:
        async with cli.terminal("login", "work", "--cookie") as terminal:
            await terminal.fills("Cookie: ", f"theme=dark; session={SESSION}; lang=en")
            await terminal.sees("Stored the session of")
            assert await terminal.ends() == 0
            assert SESSION not in terminal.text
        asked = await cli.run("chat", "-m", "work", "Hi")
        assert (asked.code, asked.out) == (0, "Hello Ann.\n"), asked.err
        assert [request.path for request in site.requests] == ["/ask"]


async def test_a_code_is_asked_for(tmp_path: Path) -> None:
    """`berlin login` asks for the code; the session is kept, so that a chat needs none."""
    cli = Cli(tmp_path)
    async with service(cli) as site:
        async with cli.terminal("login", "work", "--account", "ann") as terminal:
            await terminal.fills("Password: ", "correct-horse")
            await terminal.fills("One-time code: ", "123456")
            await terminal.sees("Logged in to")
            assert await terminal.ends() == 0
            assert "correct-horse" not in terminal.text
        asked = await cli.run("chat", "-m", "work", "Hi")
        assert (asked.code, asked.out) == (0, "Hello Ann.\n"), asked.err
        assert [request.path for request in site.requests] == ["/login", "/verify", "/ask"]
    kept = b"".join(path.read_bytes() for path in cli.data.rglob("*") if path.is_file())
    assert b"123456" not in kept


async def test_a_wrong_code_stores_nothing(tmp_path: Path) -> None:
    """Neither the password nor a session; one line says what the service says."""
    cli = Cli(tmp_path)
    async with service(cli):
        ended = await cli.run(
            *("login", "work", "--account", "ann", "--password-stdin"),
            stdin="correct-horse\n654321\n",
        )
    assert (ended.code, ended.out) == (3, "")
    assert "wrong code" in ended.err
    assert not (cli.data / "logins.json").exists()
