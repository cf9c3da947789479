"""The commands with a slash, several lines, and Ctrl-C, on a pseudo terminal."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest

from support.chat_service import HANG, ChatService
from support.cli import Cli


async def test_help_lists_the_commands(tmp_path: Path) -> None:
    """`/help` names every command and the keys; nothing is sent."""
    async with ChatService() as service:
        async with Cli(tmp_path).uses(service.url).terminal("chat") as terminal:
            await terminal.answers("/help", "/edit")
            await terminal.sees("Alt-Enter")
            await terminal.leaves()
        assert service.opened == 0


async def test_an_unknown_command_is_not_sent(tmp_path: Path) -> None:
    """A slash with no command behind it is told with the nearest one, and not sent."""
    async with ChatService() as service:
        async with Cli(tmp_path).uses(service.url).terminal("chat") as terminal:
            await terminal.answers("/modle x", "there is no command /modle; did you mean /model?")
            await terminal.leaves()
        assert service.opened == 0


async def test_a_question_of_several_lines(tmp_path: Path) -> None:
    """Three quotes begin and end a question of several lines; Alt-Enter makes a line too."""
    async with ChatService(["Fine."]) as service:
        async with Cli(tmp_path).uses(service.url).terminal("chat") as terminal:
            await terminal.asks()
            terminal.types('"""one\rtwo\r')
            await terminal.sees("two")
            terminal.types('three"""\r')
            await terminal.sees("Fine.")
            await terminal.answers("four\x1b\rfive", "Fine.")
            await terminal.leaves()
        assert service.chats[0].json["prompt"] == "one\ntwo\nthree"
        assert "four\nfive" in service.chats[1].json["prompt"]


async def test_system_new_and_model(tmp_path: Path) -> None:
    """`/system` is told first, `/new` forgets what was said, `/model` changes who answers."""
    async with ChatService(["One."]) as first, ChatService(["Two."]) as second:
        cli = Cli(tmp_path).configure(
            'default = "first"\n'
            + "".join(
                f'[providers.{name}]\nurl = "{service.url}"\n'
                'account = "account"\npassword = "password"\n'
                for name, service in (("first", first), ("second", second))
            )
        )
        async with cli.terminal("chat") as terminal:
            await terminal.answers("/system Be short.", "System: Be short.")
            await terminal.answers("Red", "One.")
            await terminal.answers("/new", "A new conversation.")
            await terminal.answers("Blue", "One.")
            await terminal.answers("/model panle", "no model or provider 'panle'")
            await terminal.answers("/model second:big", "second:big answers.")
            await terminal.answers("Green", "Two.")
            await terminal.answers("/exit", "")
            assert await terminal.ends() == 0
        assert "Be short." in first.chats[0].json["prompt"]
        assert first.chats[1].json["prompt"] == "Blue"
        assert second.chats[0].json["options"]["model"] == "big"
        assert "Blue" in second.chats[0].json["prompt"]


async def test_a_question_that_the_locale_cannot_read(tmp_path: Path) -> None:
    """A question in UTF-8 is sent as it is where Python reads the terminal as ASCII."""
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    cli = Cli(tmp_path)
    async with (
        ChatService(["Fine."]) as service,
        cli.uses(service.url).terminal("chat", **ascii_only) as terminal,
    ):
        await terminal.answers("über", "Fine.")
        await terminal.leaves()
    assert "über" in service.chats[0].json["prompt"]


async def test_save_and_load(tmp_path: Path) -> None:
    """A conversation goes into a file, and another one goes on from it."""
    saved, page = tmp_path / "talk.json", tmp_path / "talk.md"
    async with ChatService(["Fine."]) as service:
        cli = Cli(tmp_path).uses(service.url)
        async with cli.terminal("chat") as terminal:
            await terminal.answers("Hi", "Fine.")
            await terminal.answers(f"/save {saved}", "Saved to")
            await terminal.answers(f"/save {page}", "Saved to")
            await terminal.answers(f"/save {page}", "already exists")
            await terminal.answers("/save ~nobody-here/x.md", "cannot be written: No such file")
            await terminal.answers("/new", "A new conversation.")
            await terminal.answers("/load nope.json", "cannot be read as messages: No such file")
            await terminal.answers(f"/load {saved}", "2 messages.")
            await terminal.answers("Again", "Fine.")
            await terminal.leaves()
        assert "Hi" in service.chats[1].json["prompt"]
    assert json.loads(saved.read_text()) == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Fine."},
    ]
    assert page.read_text() == "## User\n\nHi\n\n## Assistant\n\nFine.\n"


async def test_edit_begins_with_the_last_question(tmp_path: Path) -> None:
    """`/edit` opens the editor on the last question; what is saved there stands on the line."""
    editor = tmp_path / "editor.sh"
    editor.write_text('#!/bin/sh\nprintf " and more" >> "$1"\n')
    editor.chmod(0o755)
    async with ChatService(["Fine."]) as service:
        cli = Cli(tmp_path).uses(service.url)
        async with cli.terminal("chat", EDITOR=str(editor)) as terminal:
            await terminal.answers("Hi", "Fine.")
            await terminal.answers("/edit", "and more")
            terminal.types("\r")
            await terminal.sees("Fine.")
            await terminal.leaves()
        assert "and more" in service.chats[1].json["prompt"]


async def test_tab_completes_commands_and_models(tmp_path: Path) -> None:
    """Tab completes a command, and a configured model after `/model`."""
    async with ChatService() as service:
        cli = Cli(tmp_path).configure(
            f'[providers.workplace]\nurl = "{service.url}"\naccount = "account"\n'
            'password = "password"\nmodels = ["small", "tiny"]\n'
        )
        async with cli.terminal("chat") as terminal:
            await terminal.asks()
            terminal.types("/mod")
            await terminal.sees("/model")  # in the menu
            terminal.types("\t workplace:t")
            await terminal.sees("workplace:tiny")  # in the menu
            terminal.types("\t\r")
            await terminal.sees("workplace:tiny answers.")
            await terminal.leaves()


async def test_ctrl_c_says_stopped_and_keeps_the_turn(tmp_path: Path) -> None:
    """Ctrl-C at an answer says `stopped` once; what came of it is part of the conversation."""
    async with ChatService() as service:
        service.pieces = lambda request: (
            ["It begins", HANG] if len(service.chats) == 1 else ["Done."]
        )
        cli = Cli(tmp_path).uses(service.url)
        async with cli.terminal("chat") as terminal:
            await terminal.answers("Hi", "It begins")
            terminal.types("\x03")
            await terminal.sees("stopped")
            await terminal.answers("Go on", "Done.")
            await terminal.leaves()
        assert "It begins" in service.chats[1].json["prompt"]
    assert terminal.text.count("stopped") == 1
    after = terminal.text[terminal.text.index("stopped") :]
    assert "It begins" not in after


async def test_a_spinner_with_seconds_until_the_first_text(tmp_path: Path) -> None:
    """While nothing has come, a spinner counts the seconds; text takes its place."""
    go_on = asyncio.Event()
    async with ChatService([go_on, "Here."]) as service:
        cli = Cli(tmp_path).uses(service.url)
        async with cli.terminal("chat", "Hi") as terminal:
            await terminal.sees("0 s")
            go_on.set()
            await terminal.sees("Here.")
            assert await terminal.ends() == 0
    shown = terminal.shown.decode()
    assert shown.rindex(" s") < shown.rindex("\r\x1b[K") < shown.rindex("Here.")


async def test_a_long_block_shows_its_end_while_it_comes(tmp_path: Path) -> None:
    """Of a block that is longer than the screen the newest lines are in sight."""
    lines = "".join(f"line {n}\n" for n in range(200))
    async with ChatService([f"```text\n{lines}", "the newest\n", HANG]) as service:
        cli = Cli(tmp_path).uses(service.url)
        async with cli.terminal("chat", "Hi") as terminal:
            await terminal.sees("the newest")
            terminal.types("\x03")
            assert await terminal.ends() == 130
    assert "line 0" in terminal.text  # all of it is printed at the end


@pytest.mark.parametrize("keeps", [True, False])
async def test_conversations_are_kept_unless_the_configuration_says_no(
    tmp_path: Path, keeps: bool
) -> None:
    """One line of configuration keeps no conversation; otherwise each is in a private file."""
    async with ChatService(["Fine."]) as service:
        cli = Cli(tmp_path).uses(service.url)
        if not keeps:
            cli.configure("[terminal]\nhistory = false\n")
        ended = await cli.run("chat", "Hi")
    assert (ended.code, ended.out, ended.err) == (0, "Fine.\n", "")
    file = cli.data / "conversations.sqlite"
    assert file.exists() == keeps
    if keeps:
        assert file.stat().st_mode & 0o077 == 0
        with sqlite3.connect(file) as db:
            rows = db.execute("select role, text from messages order by n").fetchall()
        db.close()
        assert rows == [("user", "Hi"), ("assistant", "Fine.")]
