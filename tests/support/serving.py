"""`berlin serve` as a process, over real services that the test plays.

async with ChatService() as house:
    cli = configure(Cli(tmp_path), house.url)
    async with serving(cli) as (process, at):
        assert (await at.ask(OPENAI, model="house:m1")).text == "Hello, world"
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from support.cli import Cli, reader
from support.face import PASSWORDS
from support.gateway import RECIPE, At

HOUSE = """
[providers.house]
url = "{url}"
account = "account"
password = "password"
{more}
"""
OPEN = """
[providers.{name}]
recipe = "{name}.toml"
api_key = "key-of-{name}"
{more}
"""


def house(url: str, more: str = "") -> str:
    """Return the table of a provider `house`, the service behind a login."""
    return HOUSE.format(url=url, more=more)


def described(
    cli: Cli, name: str, url: str, more: str = "models = ['m1']", format: str = "openai-chat"
) -> str:
    """Write a recipe of a known format, and return the table of a provider that follows it."""
    cli.config.parent.mkdir(parents=True, exist_ok=True)
    recipe = RECIPE.format(name=name, url=url, format=format)
    (cli.config.parent / f"{name}.toml").write_text(recipe, "utf-8")
    return OPEN.format(name=name, more=more)


@asynccontextmanager
async def serving(cli: Cli) -> AsyncIterator[tuple[asyncio.subprocess.Process, At]]:
    """Run `berlin serve`, and give its process and a client of it."""
    async with (
        cli.serve(forked=True) as (process, url),
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=40)
        ) as session,
    ):
        yield process, At(url, session, None)  # it is not in this process


async def add_account(cli: Cli, name: str = "alice") -> None:
    """Add an account of the Berlin face, with the password that `At.login` gives."""
    added = await cli.run("account", "add", name, "--password-stdin", stdin=PASSWORDS[name])
    assert added.code == 0, added.err


async def stopped(process: asyncio.subprocess.Process) -> str:
    """Stop a process, check that it ends well, and return what it had to say on stderr."""
    process.terminate()
    return await ended(process)


async def ended(process: asyncio.subprocess.Process) -> str:
    """Check that a process that was told to stop ends well, and return the rest of stderr."""
    async with asyncio.timeout(30):
        said = (await reader(process.stderr).read()).decode()
        assert await process.wait() == 0
    return said


async def hears(process: asyncio.subprocess.Process, words: str) -> str:
    """Wait for a line on stderr with these words in it, and return it."""
    async with asyncio.timeout(30):
        while line := (await reader(process.stderr).readline()).decode():
            if words in line:
                return line
    raise AssertionError(f"{words!r} was not said")


async def metrics(at: At) -> dict[str, float]:
    """Return what `/metrics` says, by the name of the series with its labels."""
    page = await at.get("/metrics")
    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    pairs = (line.rsplit(" ", 1) for line in page.data.decode().splitlines() if line[0] != "#")
    return {series: float(value) for series, value in pairs}


def log_lines(data: bytes) -> list[dict[str, Any]]:
    """Return the lines of an access log; each is one JSON object."""
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]
