"""`berlin recipe serve` as a process."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from support.cli import Cli, reader

RECIPE = """
schema = 1
name = "work"
description = "A chat"

[endpoint]
url = "https://chat.example.com/base"

[auth]
flow = "login"

[[auth.steps]]
path = "https://login.example.com/session"
form = { user = "{account}", secret = "{password}" }
take = { token = "/key" }

[chat]
path = "/ask"
json = { q = "{prompt}" }

[chat.stream]
framing = "sse"
text = "/t"
"""


async def started(process: asyncio.subprocess.Process) -> tuple[str, str]:
    """Return the base URL, and what stands on stderr before it."""
    said = ""
    async with asyncio.timeout(30):
        while True:
            line = (await reader(process.stderr).readline()).decode()
            found = re.search(r"playing \S+ on (http://\S+)", line)
            if found:
                return found[1], said
            assert line, said
            said += line


async def printed(process: asyncio.subprocess.Process) -> str:
    """Return the table for berlin.toml."""
    lines = []
    async with asyncio.timeout(30):
        while not lines or not lines[-1].startswith("password"):
            lines.append((await reader(process.stdout).readline()).decode())
    return "".join(lines)


async def test_the_printed_table_leads_to_the_fake(tmp_path: Path) -> None:
    """What it prints is all that a client needs; the copy has no URL of the true service."""
    cli = Cli(tmp_path)
    (tmp_path / "work.toml").write_text(RECIPE)
    copy = tmp_path / "copy.toml"
    arguments = ("recipe", "serve", str(tmp_path / "work.toml"), "--port", "0", "--echo")
    async with cli.start(*arguments, "--copy", str(copy), "--password", "p") as process:
        url, said = await started(process)
        assert (url.endswith("/base"), said) == (True, "")
        assert "example.com" not in copy.read_text()
        table = await printed(process)
        cli.configure(table)
        assert (cli.config.parent / "copy.toml").write_text(copy.read_text())
        ended = await cli.run("chat", "-m", "fake", "Hello there")
        assert (ended.code, ended.out) == (0, "Hello there\n")
        lines = [(await reader(process.stderr).readline()).decode() for _ in range(2)]
        assert lines == [
            "berlin: POST /session -> 200\n",
            "berlin: POST /base/ask -> 200\n",
        ]


async def test_whole_urls_are_told(tmp_path: Path) -> None:
    """Without a copy the client would log in at the true service: that is said."""
    cli = Cli(tmp_path)
    (tmp_path / "work.toml").write_text(RECIPE)
    async with cli.start("recipe", "serve", str(tmp_path / "work.toml"), "--port", "0") as process:
        _, said = await started(process)
    assert "https://login.example.com/session" in said
    assert "--copy" in said


async def test_the_copy_replaces_nothing(tmp_path: Path) -> None:
    """A file that is there stays."""
    (tmp_path / "work.toml").write_text(RECIPE)
    copy = tmp_path / "copy.toml"
    copy.write_text("mine")
    ended = await Cli(tmp_path).run(
        "recipe", "serve", str(tmp_path / "work.toml"), "--copy", str(copy)
    )
    assert (ended.code, copy.read_text()) == (2, "mine")
