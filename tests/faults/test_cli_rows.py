"""The rows of the command line: what hurts a terminal, a pipe or a script."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from pathlib import Path

import click
import pytest

from berlin.cli.main import COMMANDS, cli
from support.chat_service import HANG, ChatService
from support.cli import BERLIN, Cli, reader

EVIL = (
    "\x1b]52;c;ZXZpbA==\x07",  # OSC 52: writes the clipboard
    "\x1b]0;owned\x07",  # OSC 0: the title
    "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",  # OSC 8: a link that lies
    "\x1b[2J\x1b[3J\x1b[H",  # clears screen and history
    "\x1b[?1049h",  # the other screen
    "\x1bP$q\x1b\\",  # DCS: makes the terminal answer
    "\x1bc",  # full reset
    "\x9b31m\x9d52;c;x\x9c",  # the same in C1
    "\x07\x08\x7f\x0b",
    "safe\rforged",  # overwrites the line
    "\u202egnp.exe\u202c \u2066x\u2069 \u200f\u061c",  # turns the direction
)

# What rich sends for Markdown: styles, lines up, erased lines, the cursor hidden and shown.
ALLOWED = re.compile(r"\x1b\[(\d*(;\d+)*m|\d*A|[012]?K|\?25[lh])")
FORBIDDEN = re.compile(
    r"[^\t\n\r\x20-\x7e\u00a0-\U0010ffff]|[\u061c\u200e\u200f\u202a-\u202e]|[\u2066-\u2069]"
)


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "one character a piece"])
async def test_s40_nothing_of_a_model_drives_the_terminal(tmp_path: Path, cut: bool) -> None:
    """On a terminal only rich's own sequences are sent, however the model's are cut."""
    text = "before " + " | ".join(EVIL) + " after"
    pieces = list(text) if cut else [text]
    async with ChatService(pieces) as service:
        command = Cli(tmp_path).uses(service.url)
        async with command.terminal("chat", "Hi") as terminal:
            assert await terminal.ends() == 0
    shown = terminal.shown.decode()
    assert FORBIDDEN.findall(ALLOWED.sub("", shown)) == []
    assert "before" in terminal.text
    assert "after" in terminal.text
    assert "␛]52;c;ZXZpbA==␇" in " ".join(terminal.text.split())


async def test_s40_links_and_code_are_no_way_around(tmp_path: Path) -> None:
    """Sequences in code blocks, headings, tables and the addresses of links are signs too."""
    evil = "\x1b]52;c;eA==\x07"
    text = (
        f"# {evil}\n\n```python\n{evil}\n```\n\n`{evil}`\n\n[{evil}](http://a.example/{evil})\n\n"
        f"| {evil} |\n|---|\n| {evil} |\n\n```{evil}\nx\n```\n\n&#27;]52;c;eA==&#7;\n"
    )
    async with ChatService([text]) as service:
        command = Cli(tmp_path).uses(service.url)
        async with command.terminal("chat", "Hi") as terminal:
            assert await terminal.ends() == 0
    assert "\x1b]52" not in terminal.shown.decode()
    assert "\x07" not in terminal.shown.decode()


async def test_s40_in_a_conversation(tmp_path: Path) -> None:
    """In a conversation neither an answer nor an error of the service drives the terminal."""
    evil = "\x1b]52;c;ZXZpbA==\x07\u202e"
    async with ChatService(
        ["text ", evil, b'{"error": "no \\u001b]52;c;ZXZpbA==\\u0007"}\n']
    ) as service:
        command = Cli(tmp_path).uses(service.url)
        async with command.terminal("chat") as terminal:
            await terminal.answers("Hi", "berlin: the service reports an error: no ")
            await terminal.leaves()
    shown = terminal.shown.decode()
    assert "\x1b]52" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown


async def test_s40_in_a_pipe_the_text_is_exact(tmp_path: Path) -> None:
    """What goes into a pipe is what the model said."""
    async with ChatService(EVIL) as service:
        ended = await Cli(tmp_path).uses(service.url).run("chat", "Hi")
    assert ended.data.decode() == "".join(EVIL) + "\n"
    assert (ended.code, ended.err) == (0, "")


async def test_c18_ctrl_c_in_mid_stream(tmp_path: Path) -> None:
    """SIGINT in the middle of an answer: exit 130, what came is printed, no traceback."""
    async with ChatService(["It begins", HANG]) as service:
        command = Cli(tmp_path).uses(service.url)
        async with command.start("chat", "Hi") as process, asyncio.timeout(30):
            assert process.stdin is not None
            process.stdin.close()
            assert await reader(process.stdout).readexactly(9) == b"It begins"
            process.send_signal(signal.SIGINT)
            out, err = await process.communicate()
            assert (process.returncode, out, err.strip()) == (130, b"\n", b"")
        await service.all_closed()


async def test_c18_ctrl_c_before_the_first_piece(tmp_path: Path) -> None:
    """SIGINT while the service is silent: exit 130 and nothing printed."""
    async with ChatService([HANG]) as service:
        command = Cli(tmp_path).uses(service.url)
        async with command.start("chat", "Hi") as process, asyncio.timeout(30):
            assert process.stdin is not None
            process.stdin.close()
            await service.seen(chats=1)
            process.send_signal(signal.SIGINT)
            out, err = await process.communicate()
            assert (process.returncode, out, err.strip()) == (130, b"", b"")


async def test_c18_ctrl_c_on_a_terminal(tmp_path: Path) -> None:
    """Ctrl-C at the answer to one question: exit 130, what came stays on the screen."""
    async with ChatService(["It begins", HANG]) as service:
        command = Cli(tmp_path).uses(service.url)
        async with command.terminal("chat", "Hi") as terminal:
            await terminal.sees("It begins")
            terminal.types("\x03")
            assert await terminal.ends() == 130
    assert "Traceback" not in terminal.text
    assert terminal.shown.decode().rindex("It begins") > terminal.shown.decode().index("\x1b[?25l")
    assert terminal.shown.decode().rindex("\x1b[?25h") > terminal.shown.decode().rindex("\x1b[?25l")


async def test_c19_head_takes_one_line(tmp_path: Path) -> None:
    """`| head -1` gets its line; Berlin ends quietly with 141, as a program does that meets a
    closed pipe.
    """
    async with ChatService(["first\n", *["more\n"] * 50_000]) as service:
        command = Cli(tmp_path).uses(service.url)
        ended = await command.shell(
            "{ $BERLIN chat Hi; echo $? >$HOME/code; } | head -1; cat $HOME/code"
        )
    assert (ended.out, ended.err) == ("first\n141\n", "")


async def test_c19_reader_is_gone_from_the_start(tmp_path: Path) -> None:
    """A reader that is gone before the first piece is as quiet."""
    async with ChatService(["first\n", 0.1, "more\n"]) as service:
        command = Cli(tmp_path).uses(service.url)
        ended = await command.shell("{ sleep 0.2; $BERLIN chat Hi; echo $? >$HOME/code; } | true")
        assert (ended.out, ended.err) == ("", "")
    assert (command.home / "code").read_text() == "141\n"


async def test_c20_ascii_only_terminal(tmp_path: Path) -> None:
    """With LC_ALL=C a character that cannot be shown is a question mark."""
    async with ChatService(["Привет, ", "Берлин 🐻!"]) as service:
        ended = (
            await Cli(tmp_path)
            .uses(service.url)
            .run("chat", "Hi", LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
        )
    assert (ended.code, ended.out, ended.err) == (0, "??????, ?????? ?!\n", "")


async def test_c20_ascii_only_errors(tmp_path: Path) -> None:
    """Messages on stderr with characters beyond ASCII do not crash there either."""
    ended = await Cli(tmp_path).run(
        *("chat", "-m", "berlin", "Hi"),
        LC_ALL="C",
        PYTHONCOERCECLOCALE="0",
        PYTHONUTF8="0",
        BERLIN_URL="http://127.0.0.1:9",
    )
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("berlin: there is no account and password to log in with.")
    assert "Traceback" not in ended.err


async def test_c20_ascii_only_question(tmp_path: Path) -> None:
    """A question in UTF-8 that Python read as ASCII is sent as it was typed."""
    async with ChatService(["Fine."]) as service:
        ended = (
            await Cli(tmp_path)
            .uses(service.url)
            .run("chat", "Привет", LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
        )
    assert "Привет" in service.chats[0].json["prompt"]
    assert (ended.code, ended.out, ended.err) == (0, "Fine.\n", "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("$BERLIN chat <&-", "there is no prompt, and standard input is closed"),
        ("printf 'a\\377\\376b' | $BERLIN chat", "standard input is not text in UTF-8"),
        ("printf 'a\\377' | $BERLIN chat Review", "standard input is not text in UTF-8"),
        ("printf 'a\\000b' | $BERLIN chat", "standard input is not text in UTF-8"),
        ("$BERLIN chat </dev/null", "there is no prompt: give one, or pipe text in"),
        (
            "head -c 20971521 /dev/zero | tr '\\0' a | $BERLIN chat",
            "standard input is larger than 20 MiB",
        ),
    ],
    ids=["closed", "not UTF-8", "not UTF-8 beside a prompt", "binary", "empty", "huge"],
)
async def test_c21_standard_input_that_is_no_prompt(tmp_path: Path, line: str, said: str) -> None:
    """Standard input that cannot be a prompt is a clear error with exit 2; nothing is sent."""
    async with ChatService() as service:
        ended = await Cli(tmp_path).uses(service.url).shell(line)
        assert service.opened == 0
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.endswith(f"Error: {said}\n")


async def test_c21_closed_standard_input_with_a_prompt(tmp_path: Path) -> None:
    """With a prompt on the command line a closed standard input does no harm."""
    async with ChatService() as service:
        ended = await Cli(tmp_path).uses(service.url).shell("$BERLIN chat Hi <&-")
    assert (ended.code, ended.out, ended.err) == (0, "Hello, world\n", "")


async def test_c21_closed_standard_output(tmp_path: Path) -> None:
    """With standard output closed nothing is printed, and that is no crash."""
    async with ChatService() as service:
        ended = await Cli(tmp_path).uses(service.url).shell("$BERLIN chat Hi >&-")
    assert (ended.code, ended.err) == (0, "")


async def test_c21_conversation_needs_a_terminal(tmp_path: Path) -> None:
    """A conversation whose output is a file is refused: nobody would see the prompt."""
    shell = ("/bin/sh", "-c", f"{' '.join(BERLIN)} chat >/dev/null")
    async with ChatService() as service:
        command = Cli(tmp_path).uses(service.url)
        async with command.terminal(command=shell) as terminal:
            assert await terminal.ends() == 2
        assert service.opened == 0
    assert "a conversation needs a terminal; give a PROMPT" in terminal.text


@pytest.mark.parametrize("name", list(COMMANDS))
def test_x11_no_option_takes_a_password(name: str) -> None:
    """No option or argument of any command takes a password, a token or a key as its value."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    group = command.commands.values() if isinstance(command, click.Group) else [command]
    for one in group:
        for parameter in one.params:
            takes_value = not (isinstance(parameter, click.Option) and parameter.is_flag)
            takes_value = takes_value and parameter.metavar != "NAME"  # a name is not a secret
            named = " ".join([*parameter.opts, parameter.name or ""])
            if re.search("password|token|secret|key", named):
                assert not takes_value, f"{name}: {named}"


async def test_x11_password_as_an_argument_is_refused(tmp_path: Path) -> None:
    """`account add NAME PASSWORD` is wrong usage, and the message does not repeat it whole."""
    command = Cli(tmp_path)
    ended = await command.run("account", "add", "bob", "--password", "tell-nobody")
    assert (ended.code, ended.out) == (2, "")
    assert not (command.data / "accounts.json").exists()


@pytest.mark.parametrize("flag", ["--help", "--version"])
async def test_help_loads_no_http_client(tmp_path: Path, flag: str) -> None:
    """`--help` and `--version` answer without loading aiohttp, rich or msgspec."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "importtime", *BERLIN[1:], flag),
        env=Cli(tmp_path).environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0
    assert b"berlin" in out
    loaded = {line.rpartition("|")[2].strip() for line in err.decode().splitlines()}
    assert "berlin.cli.main" in loaded
    assert not loaded & {"aiohttp", "asyncio", "rich", "msgspec", "prompt_toolkit", "ssl"}
