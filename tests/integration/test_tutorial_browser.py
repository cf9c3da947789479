"""The second part of the tutorial in docs/recipes.md, followed: from a HAR file to an endpoint."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

from support.cli import Cli
from support.manual import code_blocks, read, section
from support.web_chat import ACCOUNT, PASSWORD, open_web_chat, record_browser

TUTORIAL = section(read("docs/recipes.md"), "From your browser to an endpoint in five minutes")
NEW, ADD, USE, _ = code_blocks(TUTORIAL, "sh")
TRIED = code_blocks(TUTORIAL, "text")[0]
WRITTEN = tomllib.loads(code_blocks(TUTORIAL, "toml")[0])


async def test_from_a_har_file_to_a_chat(tmp_path: Path) -> None:
    """The commands of the tutorial: draft, try, add, chat, against a chat with CSRF and cookies."""
    cli = Cli(tmp_path)
    draft = tmp_path / "work.toml"

    def words(command: str) -> list[str]:
        files = {name: str(tmp_path / name) for name in ("work.toml", "saved.har")}
        return [files.get(word, word) for word in shlex.split(command)[1:]]

    async with open_web_chat() as (chat, url):
        (tmp_path / "saved.har").write_bytes(await record_browser(url))
        made = await cli.run(*words(NEW), "--yes")
        assert made.code == 0, made.err
        assert TRIED in made.out
        recipe = tomllib.loads(draft.read_text())
        shown = {"auth": recipe["auth"], "chat": recipe["chat"]}
        shown["chat"].pop("stream")
        assert shown == WRITTEN
        given = ("--account", ACCOUNT, "--password-stdin")
        added = await cli.run(*words(ADD), *given, stdin=f"{PASSWORD}\n")
        assert (added.code, added.out) == (0, "You said: Hello.\n"), added.err
        chat.forget()  # every session ends: the next chat logs in again
        asked = await cli.run(*words(USE.splitlines()[0]))
        assert (asked.code, asked.out) == (0, "You said: Hello.\n"), asked.err
    secrets = (PASSWORD, ACCOUNT, "sess-", "field-", "mark-", "chat-3")
    assert [s for s in secrets if s in draft.read_text() + made.out + made.err] == ["chat-3"]
    assert "chat-3" not in draft.read_text()
    assert chat.asked == ["Hello"] * 4


async def test_an_unknown_service_on_a_terminal(tmp_path: Path) -> None:
    """From an address to an answer, with the commands that the program itself suggests."""
    cli = Cli(tmp_path)
    async with open_web_chat() as (_, url):
        unknown = await cli.run("add", url)
        assert unknown.code == 2
        suggested = [line.split()[1:] for line in unknown.err.splitlines() if "  berlin" in line]
        new, add = ["recipe", "new", "work.toml", "--har", "saved.har"], ["add", "work.toml"]
        assert suggested == [new, add]
        (tmp_path / "saved.har").write_bytes(await record_browser(url))
        draft = str(tmp_path / "work.toml")
        har = str(tmp_path / "saved.har")
        async with cli.terminal("recipe", "new", draft, "--har", har) as terminal:
            await terminal.sees(
                f"Try it now: log in as {ACCOUNT} and ask 'Hello' at {url}? [Y/n]: "
            )
            terminal.types("\r")
            await terminal.sees("Text: You said: Hello.")
            await terminal.sees(f"it works. Next: berlin add {draft}")
            assert await terminal.ends() == 0
            assert "csrf" not in terminal.text
        async with cli.terminal("add", draft) as terminal:
            await terminal.fills("Account (email): ", ACCOUNT)
            await terminal.fills("Password: ", PASSWORD)
            await terminal.sees("You said: Hello.")
            await terminal.sees("berlin serve")
            assert await terminal.ends() == 0
