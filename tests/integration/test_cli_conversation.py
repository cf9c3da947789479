"""`berlin chat` on a real terminal: a conversation, and answers that are rendered."""

from __future__ import annotations

import signal
import stat
from pathlib import Path

import pytest

from support.chat_service import HANG, Answer, ChatService, Piece
from support.cli import NOTICE, Cli

CTRL_C = "\x03"
READY = "Ctrl-C stops an answer, Ctrl-D ends the conversation, /help lists the commands."


async def test_second_question_carries_the_history(tmp_path: Path) -> None:
    """Each question goes to the service with all that was said before; Ctrl-D ends with 0."""
    answers = [["An **important** answer."], ["A second", " one."]]

    async with ChatService() as service:
        service.pieces = lambda request: answers[len(service.chats) - 1]
        cli = Cli(tmp_path).uses(service.url)
        async with cli.terminal("chat") as terminal:
            await terminal.sees(READY)
            await terminal.answers(
                "What is it?", "An important answer."
            )  # rendered: the stars are gone
            await terminal.answers("And then?", "A second one.")
            await terminal.leaves()
        assert [chat.json["prompt"] for chat in service.chats] == [
            "What is it?",
            "User: What is it?\n\nAssistant: An **important** answer.\n\n"
            "User: And then?\n\nAssistant:",
        ]
        assert service.login_count == {"account": 1}


async def test_ctrl_c_stops_the_answer_and_keeps_what_came(tmp_path: Path) -> None:
    """Ctrl-C ends an answer at once, not the conversation; what came of it is history."""
    answers: list[list[Piece]] = [["It begins", HANG], ["done"]]

    async with ChatService() as service:
        service.pieces = lambda request: answers[len(service.chats) - 1]
        cli = Cli(tmp_path).uses(service.url)
        async with cli.terminal("chat") as terminal:
            await terminal.answers("Go on", "It begins")
            terminal.types(CTRL_C)
            await terminal.answers("More", "done")
            await terminal.leaves()
        assert "Traceback" not in terminal.text
        assert service.chats[1].json["prompt"] == (
            "User: Go on\n\nAssistant: It begins\n\nUser: More\n\nAssistant:"
        )


async def test_ctrl_c_before_the_answer_forgets_the_question(tmp_path: Path) -> None:
    """A question that is stopped before anything came is not part of the conversation."""
    answers: list[list[Piece]] = [[HANG], ["done"]]

    async with ChatService() as service:
        service.pieces = lambda request: answers[len(service.chats) - 1]
        cli = Cli(tmp_path).uses(service.url)
        async with cli.terminal("chat") as terminal:
            await terminal.asks()
            terminal.types("One\r")
            await service.seen(chats=1)
            terminal.types(CTRL_C)
            await terminal.answers("Two", "done")
            await terminal.leaves()
        assert service.chats[1].json["prompt"] == "Two"


async def test_ctrl_c_at_the_prompt_clears_the_line(tmp_path: Path) -> None:
    """Ctrl-C at the prompt throws the line away; a blank line asks nothing."""
    async with ChatService() as service:
        cli = Cli(tmp_path).uses(service.url)
        async with cli.terminal("chat") as terminal:
            await terminal.asks()
            terminal.types("half a quest")
            await terminal.sees("quest")
            terminal.types(CTRL_C)
            await terminal.asks()
            terminal.types("  \r")
            await terminal.answers("whole", "world")
            await terminal.leaves()
        assert [chat.json["prompt"] for chat in service.chats] == ["whole"]


async def test_error_ends_the_answer_not_the_conversation(tmp_path: Path) -> None:
    """An error is told in one line, and the next question can be asked."""
    async with ChatService() as service:
        service.chat_answers.append(Answer(422, {"message": "too spicy"}))
        cli = Cli(tmp_path).uses(service.url)
        async with cli.terminal("chat") as terminal:
            await terminal.answers("One", "berlin: the service answers 422: too spicy")
            await terminal.answers("Two", "Hello, world")
            await terminal.leaves()
        assert service.chats[1].json["prompt"] == "Two"


async def test_history_of_questions_is_private(tmp_path: Path) -> None:
    """What was asked is remembered in a file that only its owner can read, and comes back with
    the arrow key in the next conversation.
    """
    async with ChatService() as service:
        cli = Cli(tmp_path).uses(service.url)
        async with cli.terminal("chat") as terminal:
            await terminal.answers("Remember me", "world")
            await terminal.leaves()
        path = cli.data / "history"
        assert "Remember me" in path.read_text("utf-8")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        async with cli.terminal("chat") as terminal:
            await terminal.asks()
            terminal.types("\x1b[A")
            await terminal.fills("Remember me", "")
            await terminal.sees("world")
            await terminal.leaves()
        assert [chat.json["prompt"] for chat in service.chats] == ["Remember me"] * 2


async def test_conversation_with_the_guide(tmp_path: Path) -> None:
    """Without any set-up a conversation is one with the guide, and says so first."""
    async with Cli(tmp_path).terminal("chat") as terminal:
        await terminal.sees(NOTICE.split("\n")[0][:60])
        await terminal.answers("Hello", "I am the built-in guide to Berlin")
        await terminal.leaves()


async def test_system_text_stays_through_the_conversation(tmp_path: Path) -> None:
    """`-s` goes before every question of a conversation."""
    async with ChatService(["ok"]) as service:
        cli = Cli(tmp_path).uses(service.url)
        async with cli.terminal("chat", "-s", "Be brief.") as terminal:
            for question in ("One", "Two"):
                await terminal.answers(f"{question}", "ok")
            await terminal.leaves()
        assert [chat.json["prompt"] for chat in service.chats] == [
            "System: Be brief.\n\nUser: One\n\nAssistant:",
            "System: Be brief.\n\nUser: One\n\nAssistant: ok\n\nUser: Two\n\nAssistant:",
        ]


async def test_one_answer_is_rendered_on_a_terminal(tmp_path: Path) -> None:
    """On a terminal the answer to one question is rendered Markdown, each block shown once."""
    pieces = [
        "# A ti",
        "tle\n\nSome **bo",
        "ld** words.\n\n",
        "* one\n* two\n\n```\nx = ",
        "1\n```\n",
    ]
    async with ChatService(pieces) as service:
        cli = Cli(tmp_path).uses(service.url)
        async with cli.terminal("chat", "Hi") as terminal:
            assert await terminal.ends() == 0
    assert "**" not in terminal.text.split("x = 1")[-1]
    for text in ("A title", "Some bold words.", "• one", "• two", "x = 1"):
        await terminal.sees(text)
    assert "\x1b[1m" in terminal.shown.decode()


async def test_raw_shows_markdown_as_it_came(tmp_path: Path) -> None:
    """With `--raw` a terminal gets the text itself, but no control characters of the service."""
    async with ChatService(["# A **tit", "le**\n", "* one \x1b[31mred\n"]) as service:
        cli = Cli(tmp_path).uses(service.url)
        async with cli.terminal("chat", "--raw", "Hi") as terminal:
            assert await terminal.ends() == 0
    assert "# A **title**" in terminal.text
    assert "* one" in terminal.text
    assert "\x1b[31m" not in terminal.shown.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_killed_conversation_keeps_the_turn(tmp_path: Path, number: int) -> None:
    """When the terminal is closed or the program is stopped, what came of the answer is stored."""
    async with ChatService(["It begins", HANG]) as service:
        cli = Cli(tmp_path).uses(service.url)
        async with cli.terminal("chat") as terminal:
            await terminal.answers("Go on", "It begins")
            terminal.process.send_signal(number)
            assert await terminal.ends() == 128 + signal.SIGTERM
        assert terminal.shown.rindex(b"\x1b[?25h") > terminal.shown.rindex(b"\x1b[?25l")
    assert "Go on" in (await cli.run("logs")).out
    shown = await cli.run("logs", (await cli.run("logs")).out.split()[0])
    assert shown.out.endswith("\nassistant:\nIt begins\n")
