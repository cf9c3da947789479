"""`berlin chat` for scripts: one question, plain text."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from support.chat_service import HANG, Answer, ChatService
from support.cli import NOTICE, Cli

HELLO = "Hello! I am the built-in guide to Berlin."


async def test_without_any_setup_the_guide_answers(tmp_path: Path) -> None:
    """With nothing configured, the guide answers on stdout, and one line on stderr says so."""
    ended = await Cli(tmp_path).run("chat", "Hello")
    assert ended.code == 0
    assert ended.out.startswith(HELLO)
    assert ended.err == NOTICE


async def test_guide_by_name_needs_no_notice(tmp_path: Path) -> None:
    """Who asks for the guide by its name is not told that it is the guide."""
    ended = await Cli(tmp_path).run("chat", "-m", "guide", "Hello")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(HELLO)


async def test_embedded_by_name(tmp_path: Path) -> None:
    """`-m embedded` asks the built-in service, whatever else is configured."""
    async with ChatService() as service:
        ended = await Cli(tmp_path).uses(service.url).run("chat", "-m", "embedded", "Hello")
        assert service.opened == 0
    assert (ended.code, ended.err) == (0, NOTICE)
    assert ended.out.startswith(HELLO)


async def test_question_and_answer(tmp_path: Path) -> None:
    """A question goes to the service; the answer goes to stdout, ended by one new line."""
    async with ChatService() as service:
        ended = await Cli(tmp_path).uses(service.url).run("chat", "How are you?")
        assert [chat.json["prompt"] for chat in service.chats] == ["How are you?"]
    assert (ended.code, ended.out, ended.err) == (0, "Hello, world\n", "")


@pytest.mark.parametrize(
    ("args", "stdin", "prompt"),
    [
        ((), "What is this?\n", "What is this?\n"),
        (("Review this",), "a diff\nof two lines\n", "Review this\n\na diff\nof two lines\n"),
        (("Review this",), "", "Review this"),
        (("Review this",), " \n", "Review this"),
        ((), "Что это?", "Что это?"),
    ],
    ids=["piped", "both", "empty pipe", "blank pipe", "unicode"],
)
async def test_piped_text_joins_the_prompt(
    tmp_path: Path, args: tuple[str, ...], stdin: str, prompt: str
) -> None:
    """Piped text is the prompt, or stands below it after a blank line."""
    async with ChatService() as service:
        ended = await Cli(tmp_path).uses(service.url).run("chat", *args, stdin=stdin)
        assert [chat.json["prompt"] for chat in service.chats] == [prompt]
    assert (ended.code, ended.err) == (0, "")


async def test_system_text_goes_before_the_question(tmp_path: Path) -> None:
    """`-s` comes first, as a message of the system."""
    async with ChatService() as service:
        await Cli(tmp_path).uses(service.url).run("chat", "-s", "Be brief.", "Why?")
        assert service.chats[0].json["prompt"] == "System: Be brief.\n\nUser: Why?\n\nAssistant:"


async def test_model_and_options_reach_the_service(tmp_path: Path) -> None:
    """`-m` and `-o` arrive: numbers as numbers, words as text, the protocol's defaults beside."""
    async with ChatService() as service:
        ended = (
            await Cli(tmp_path)
            .uses(service.url)
            .run(
                *("chat", "-m", "berlin:llama:7b", "-o", "temperature", "0.5", "-o", "stop", "END"),
                *("-o", "seed", "7", "Hi"),
            )
        )
        assert service.chats[0].json["options"] == {
            "model": "llama:7b",
            "temperature": 0.5,
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "max_tokens": 1888,
            "stop": "END",
            "seed": 7,
        }
    assert ended.code == 0


async def test_provider_and_model_in_one_name(tmp_path: Path) -> None:
    """`-m provider:model` asks that provider for that model."""
    async with ChatService() as first, ChatService() as second:
        cli = Cli(tmp_path).configure(
            "".join(
                f'[providers.{name}]\nurl = "{service.url}"\n'
                'account = "account"\npassword = "password"\n'
                for name, service in (("first", first), ("second", second))
            )
        )
        ended = await cli.run("chat", "-m", "second:big", "Hi")
        assert (len(first.chats), len(second.chats)) == (0, 1)
        assert second.chats[0].json["options"]["model"] == "big"
    assert (ended.code, ended.out) == (0, "Hello, world\n")


async def test_only_configured_provider_is_the_default(tmp_path: Path) -> None:
    """A single provider in the file is asked without being named; a model of its own is used."""
    async with ChatService() as service:
        cli = Cli(tmp_path).configure(
            f'[providers.mine]\nurl = "{service.url}"\naccount = "account"\n'
            'password = { env = "MY_PASSWORD" }\nmodel = "tuned"\n'
        )
        ended = await cli.run("chat", "Hi", MY_PASSWORD="password")
        assert service.chats[0].json["options"]["model"] == "tuned"
    assert (ended.code, ended.out, ended.err) == (0, "Hello, world\n", "")


async def test_timeout_bounds_the_answer(tmp_path: Path) -> None:
    """`--timeout` ends an answer that stalls with exit code 4; what came is on stdout."""
    async with ChatService(["begun", HANG]) as service:
        ended = await Cli(tmp_path).uses(service.url).run("chat", "--timeout", "0.5", "Hi")
    assert (ended.code, ended.out) == (4, "begun\n")
    assert ended.err.startswith("berlin: ")
    assert "event arrived within 0.5 s" in ended.err or "not finished within" in ended.err


async def test_timeout_must_be_positive(tmp_path: Path) -> None:
    """A limit of zero seconds is refused before anything is sent."""
    async with ChatService() as service:
        ended = await Cli(tmp_path).uses(service.url).run("chat", "--timeout", "0", "Hi")
        assert service.opened == 0
    assert (ended.code, ended.out) == (2, "")
    assert "'--timeout': 0.0 is not in the range x>0" in ended.err


async def test_pieces_are_printed_as_they_come(tmp_path: Path) -> None:
    """The first piece is on stdout while the service still holds back the rest."""
    async with ChatService(["first", HANG]) as service:
        cli = Cli(tmp_path).uses(service.url)
        async with cli.start("chat", "Hi") as process, asyncio.timeout(30):
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            assert await process.stdout.read(100) == b"first"
            assert process.returncode is None


async def test_text_in_a_pipe_is_exact(tmp_path: Path) -> None:
    """In a pipe nothing is rendered and nothing is taken out, and no second new line is added."""
    pieces = ["# Title\n\n* \x1b[31mred\x1b[0m", "\x1b]52;c;aGk=\x07", "\u202e\r\n", "end\n"]
    async with ChatService(pieces) as service:
        ended = await Cli(tmp_path).uses(service.url).run("chat", "Hi")
    assert ended.data.decode() == "".join(pieces)
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("chat", ""), "the prompt is empty"),
        (("chat", "  "), "the prompt is empty"),
        (("chat",), "there is no prompt: give one, or pipe text in"),
        (("chat", "--nope", "Hi"), "No such option '--nope'"),
        (("chat", "-o", "temperature"), "'temperature' is not NAME=VALUE, such as temperature=0.5"),
        (("chat", "-o", "token", "abc", "Hi"), "token: never sent as an option"),
        (("chat", "-o", "temperature", "NaN", "Hi"), "options.temperature: NaN"),
        (("nope",), "there is no command 'nope'"),
        (("chta", "Hi"), "did you mean `berlin chat`?"),
        (("recipe", "shwo", "x"), "did you mean `berlin recipe show`?"),
        (("key", "ad"), "did you mean `berlin key add`?"),
        (("chat", "Hi", "there"), 'put quotes around it: berlin chat "What is a token?"'),
    ],
)
async def test_usage_errors(tmp_path: Path, args: tuple[str, ...], said: str) -> None:
    """Wrong usage is told on stderr with exit code 2, and nothing is sent."""
    async with ChatService() as service:
        ended = await Cli(tmp_path).uses(service.url).run(*args)
        assert service.opened == 0
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert "Traceback" not in ended.err


async def test_missing_credentials_name_the_four_ways(tmp_path: Path) -> None:
    """Without credentials the error names the four ways to give them."""
    url = "http://127.0.0.1:9"
    ended = await Cli(tmp_path).run("chat", "-m", "berlin", "Hi", BERLIN_URL=url)
    assert (ended.code, ended.out) == (2, "")
    for way in ("account=…", "BERLIN_ACCOUNT", "configuration file", "`berlin login`"):
        assert way in ended.err
    assert ended.err.count("\n") == 1


async def test_mistake_in_the_config_file(tmp_path: Path) -> None:
    """A misspelt key is told with file, line, and the key that was meant (D01)."""
    cli = Cli(tmp_path).configure('[providers.mine]\n\nulr = "https://a.example"\n')
    ended = await cli.run("chat", "Hi")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"berlin: {cli.config}, line 3: unknown key 'ulr' in [providers.mine]; "
        "did you mean 'url'?\n"
    )


async def test_named_config_file_must_exist(tmp_path: Path) -> None:
    """A file given by `--config` that is not there is an error, not an empty configuration."""
    missing = tmp_path / "missing.toml"
    ended = await Cli(tmp_path).run("chat", "--config", str(missing), "Hi")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"berlin: the configuration file {missing} does not exist\n"


async def test_wrong_password(tmp_path: Path) -> None:
    """A wrong password is exit code 3, and is not shown."""
    async with ChatService() as service:
        ended = await Cli(tmp_path).uses(service.url, password="letmein99").run("chat", "Hi")
        assert len(service.logins) == 1
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("berlin: the service refuses account 'account': ")
    assert ended.err.count("\n") == 1
    assert "letmein99" not in ended.err


async def test_refused_connection(tmp_path: Path) -> None:
    """A service that is not there is exit code 4."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        ended = await Cli(tmp_path).uses(url).run("chat", "Hi")
    assert (ended.code, ended.out) == (4, "")
    assert ended.err.startswith("berlin: ")
    assert url.removeprefix("http://") in ended.err
    assert ended.err.count("\n") == 1


async def test_failing_service(tmp_path: Path) -> None:
    """A service that answers 500 three times is exit code 5."""
    async with ChatService() as service:
        service.chat_answers.extend([Answer(500, {"message": "out of order"})] * 3)
        ended = await Cli(tmp_path).uses(service.url).run("chat", "Hi")
        assert len(service.chats) == 3
    assert (ended.code, ended.out) == (5, "")
    assert ended.err == "berlin: the service answers 500: out of order\n"


async def test_nonsense_in_the_answer(tmp_path: Path) -> None:
    """An answer that turns into nonsense is exit code 5; the text before it is on stdout."""
    async with ChatService(["good", b"<html>\n"]) as service:
        ended = await Cli(tmp_path).uses(service.url).run("chat", "Hi")
    assert (ended.code, ended.out) == (5, "good\n")
    assert ended.err.startswith("berlin: a line is not as described: ")


async def test_a_closed_stderr_and_a_dash(tmp_path: Path) -> None:
    """Without stderr the answer is still on stdout; `-` is standard input, as elsewhere."""
    ended = await Cli(tmp_path).shell("echo hello | $BERLIN chat -m guide - 2>&-")
    assert ended.code == 0
    assert ended.out.startswith("Hello! I am the built-in guide")
