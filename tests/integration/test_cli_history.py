"""`berlin chat -c` and `berlin logs`: conversations that were kept."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from berlin.providers.contract import Burst
from berlin.recipes.recipe import load_recipe
from berlin.types import ChatRequest, Finished, TextDelta
from berlin.workbench.fake import CREDENTIALS, open_fake
from support.chat_service import Answer, ChatService
from support.cli import Cli


async def test_c_goes_on_with_the_last_conversation(tmp_path: Path) -> None:
    """`-c` sends what was said before; without it a conversation is a new one."""
    async with ChatService(["Fine."]) as service:
        cli = Cli(tmp_path).uses(service.url)
        await cli.run("chat", "-s", "Be short.", "One")
        await cli.run("chat", "Two")
        ended = await cli.run("chat", "-c", "Three")
        prompts = [chat.json["prompt"] for chat in service.chats]
    assert (ended.code, ended.out, ended.err) == (0, "Fine.\n", "")
    assert prompts[1] == "Two"
    assert "Two" in prompts[2]
    assert "One" not in prompts[2]


async def test_an_id_goes_on_with_that_conversation(tmp_path: Path) -> None:
    """`--id` with the beginning of an id of `berlin logs` goes on there, with its model."""
    async with ChatService(["Fine."]) as service:
        cli = Cli(tmp_path).uses(service.url)
        await cli.run("chat", "-m", "berlin:deep", "One")
        await cli.run("chat", "Two")
        listed = (await cli.run("logs")).out.splitlines()
        assert [line.split()[-1] for line in listed] == ["Two", "One"]
        number = listed[1].split()[0]
        ended = await cli.run("chat", "--id", number[:6], "Three")
        assert ended.code == 0
        last = service.chats[-1].json
    assert "One" in last["prompt"]
    assert last["options"]["model"] == "deep"


class _Remembering:
    """A service that keeps conversations itself, and hears each whole."""

    def __init__(self) -> None:
        self.heard: list[list[str]] = []

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Answer with the number of the turn."""
        self.heard.append([message.text for message in request.messages])
        yield [TextDelta(f"Turn {len(self.heard)}."), Finished()]

    async def aclose(self) -> None:
        """Do nothing."""


async def test_c_goes_on_in_the_conversation_that_the_service_keeps(tmp_path: Path) -> None:
    """The service's own id of it is kept: another process sends the new words only."""
    service = _Remembering()
    async with open_fake(load_recipe("dify"), service) as url:
        cli = Cli(tmp_path).configure(
            f'default = "work"\n[providers.work]\nrecipe = "dify"\nurl = "{url}"\n'
            f'api_key = "{CREDENTIALS.api_key.reveal()}"\n'
        )
        first = await cli.run("chat", "My name is Ann.")
        assert (first.code, first.out, first.err) == (0, "Turn 1.\n", "")
        again = await cli.run("chat", "-c", "What is my name?")
        assert (again.code, again.out, again.err) == (0, "Turn 2.\n", "")
        new = await cli.run("chat", "And yours?")
        assert (new.code, new.out) == (0, "Turn 3.\n")
    asked = ["My name is Ann.", "Turn 1.", "What is my name?"]
    assert service.heard == [asked[:1], asked, ["And yours?"]]


async def test_logs_searches_shows_and_forgets(tmp_path: Path) -> None:
    """`berlin logs` finds a text in questions and answers, shows one, and forgets."""
    async with ChatService(["A 100% sure answer."]) as service:
        cli = Cli(tmp_path).uses(service.url)
        await cli.run("chat", "About whales")
        await cli.run("chat", "About rivers")
    assert (await cli.run("logs", "-q", "whales")).out.count("\n") == 1
    assert (await cli.run("logs", "-q", "100%")).out.count("\n") == 2
    assert (await cli.run("logs", "-q", "%whales")).out == ""
    [line] = (await cli.run("logs", "-q", "rivers", "--json")).out.splitlines()
    found = json.loads(line)
    assert found["title"] == "About rivers"
    shown = await cli.run("logs", found["id"])
    assert shown.out.endswith("\nuser:\nAbout rivers\n\nassistant:\nA 100% sure answer.\n")
    forgot = await cli.run("logs", "--forget", found["id"])
    assert forgot.out == "Deleted 1 conversation.\n"
    assert (await cli.run("logs")).out.count("\n") == 1


async def test_no_such_conversation(tmp_path: Path) -> None:
    """An id that nothing has, and `-c` without any conversation, are errors with exit 2."""
    cli = Cli(tmp_path)
    for args in (("logs", "abc"), ("chat", "--id", "abc", "Hi"), ("chat", "-c", "Hi")):
        ended = await cli.run(*args)
        assert (ended.code, ended.out) == (2, "")
        assert "conversation" in ended.err
        assert ended.err.count("\n") == 1


async def test_json_gives_each_event_as_a_line(tmp_path: Path) -> None:
    """`--json` writes text, usage and the end as objects, one a line."""
    async with ChatService(["Hel", "lo"]) as service:
        ended = await Cli(tmp_path).uses(service.url).run("chat", "--json", "Hi")
    events = [json.loads(line) for line in ended.out.splitlines()]
    texts = [event["text"] for event in events if event["type"] == "text"]
    assert "".join(texts) == "Hello"
    assert events[-1]["type"] == "finished"
    assert events[-1]["reason"] == "stop"
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize(
    "args", [("-o", "temperature", "0.5"), ("-o", "temperature=0.5"), ("--option=temperature=0.5",)]
)
async def test_an_option_in_one_word_or_two(tmp_path: Path, args: tuple[str, ...]) -> None:
    """`-o name value` and `-o name=value` are the same."""
    async with ChatService() as service:
        ended = await Cli(tmp_path).uses(service.url).run("chat", *args, "Hi")
        assert service.chats[0].json["options"]["temperature"] == 0.5
    assert (ended.code, ended.out) == (0, "Hello, world\n")


async def test_a_text_file_goes_with_the_question(tmp_path: Path) -> None:
    """`-a` puts a text file below the question, with its name; `-` is standard input."""
    file = tmp_path / "notes.txt"
    file.write_bytes(b"\xef\xbb\xbfthe ``` notes\n")
    async with ChatService() as service:
        cli = Cli(tmp_path).uses(service.url)
        ended = await cli.run("chat", "-a", str(file), "-a", "-", "Sum up", stdin="piped text")
        prompt = service.chats[0].json["prompt"]
    assert (ended.code, ended.err) == (0, "")
    assert prompt.startswith("Sum up\n\nnotes.txt:\n````\nthe ``` notes\n````\n")
    assert "standard input:\n```\npiped text\n```" in prompt


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "No such file"),
        (b"\x00\x01\x02", "is neither text in UTF-8 nor an image"),
    ],
)
async def test_a_file_that_cannot_go_along(tmp_path: Path, data: bytes | None, said: str) -> None:
    """A missing or unknown file is an error with exit 2, and nothing is sent."""
    file = tmp_path / "file"
    if data is not None:
        file.write_bytes(data)
    async with ChatService() as service:
        ended = await Cli(tmp_path).uses(service.url).run("chat", "-a", str(file), "Hi")
        assert service.opened == 0
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


OPENAI_ANSWER = (
    b'data: {"choices": [{"index": 0, "delta": {"reasoning_content": "Hmm."}}]}\n\n'
    b'data: {"choices": [{"index": 0, "delta": {"content": "{\\"a\\": 1}"}}]}\n\n'
    b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
)
PNG = b"\x89PNG\r\n\x1a\nrest"


def uses_openai(cli: Cli, url: str) -> Cli:
    """Let a service that speaks as OpenAI does be the default."""
    return cli.configure(f'[providers.o]\nrecipe = "vllm"\nurl = "{url}/api"\nmodel = "m"\n')


async def test_images_and_a_schema_reach_a_service_that_takes_them(tmp_path: Path) -> None:
    """`-a` sends an image as one, `--schema` asks for JSON; reasoning stays out of a pipe."""
    (tmp_path / "i.png").write_bytes(PNG)
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    (tmp_path / "s.json").write_text(json.dumps(schema))
    async with ChatService() as service:
        service.on_chat = lambda request: _answer(OPENAI_ANSWER)
        cli = uses_openai(Cli(tmp_path), service.url)
        files = ("-a", str(tmp_path / "i.png"), "--schema", str(tmp_path / "s.json"))
        ended = await cli.run("chat", *files, "Hi")
        body = service.chats[0].json
        shown = await cli.run("chat", "--reasoning", "Hi")
    assert (ended.code, ended.out, ended.err) == (0, '{"a": 1}\n', "")
    kinds = [part["type"] for part in body["messages"][0]["content"]]
    assert kinds == ["text", "image_url"]
    assert body["response_format"]["json_schema"]["schema"] == schema
    assert (shown.out, shown.err) == ('{"a": 1}\n', "Hmm.\n\n")


async def _answer(body: bytes) -> Answer:
    return Answer(200, body, {"Content-Type": "text/event-stream"})


async def test_a_home_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    """Where no file can be written, the answer comes all the same, with one warning."""
    async with ChatService(["Fine."]) as service:
        cli = Cli(tmp_path).uses(service.url)
        ended = await cli.run("chat", "Hi", XDG_DATA_HOME="/proc/nowhere")
    assert (ended.code, ended.out) == (0, "Fine.\n")
    assert "Traceback" not in ended.err
    assert ended.err.count("berlin: warning: ") == 1


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ("alter table messages add column later text", 0, ""),
        ("update messages set body = '{}'", 2, "cannot be used: Object missing required field"),
    ],
)
async def test_a_database_that_another_release_wrote(
    tmp_path: Path, change: str, code: int, said: str
) -> None:
    """Added columns are no obstacle; a message that cannot be read is an error in one line."""
    async with ChatService(["ok"]) as service:
        cli = Cli(tmp_path).uses(service.url)
        await cli.run("chat", "Hi")
        with contextlib.closing(sqlite3.connect(cli.data / "conversations.sqlite")) as db, db:
            db.execute(change)
        ended = await cli.run("chat", "-c", "And?")
    assert (ended.code, said in ended.err) == (code, True)
    assert "Traceback" not in ended.err
    assert bool(ended.err) == bool(said)
