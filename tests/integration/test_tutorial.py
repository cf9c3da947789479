"""The tutorial of docs/recipes.md, followed: each command, against the service it tells of."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest
from aiohttp import web

from support.cli import Cli, reader
from support.manual import code_blocks, read, section
from support.playing import running

PAGE = read("docs/recipes.md")
TUTORIAL = section(PAGE, "From curl to an OpenAI endpoint in ten minutes")
DRAFTING = section(PAGE, "From your browser to an endpoint in five minutes")
RECIPE, CONFIG = code_blocks(TUTORIAL, "toml")
SESSION, EVENT, COMPLETION = code_blocks(TUTORIAL, "json")
STREAM, CHECKED, TRIED, LIKELY = code_blocks(TUTORIAL, "text")


def commands_of(text: str) -> list[list[str]]:
    """Return the words of each command in the blocks of shell."""
    blocks = "".join(code_blocks(text, "sh")).replace("\\\n", "")
    return [shlex.split(line) for line in blocks.splitlines()]


COMMANDS = commands_of(TUTORIAL)
URL = "https://chat.example.com"
GATEWAY = "http://127.0.0.1:4114"


class Curl(NamedTuple):
    """What a command of curl sends."""

    url: str
    headers: dict[str, str]
    body: str | None

    @classmethod
    def of(cls, words: list[str]) -> Curl:
        (url,) = [word for word in words if "://" in word]
        values = list(pairwise(words))
        headers = dict(value.split(": ", 1) for flag, value in values if flag == "-H")
        body = next((value for flag, value in values if flag == "-d"), None)
        return cls(url, headers, body)

    async def send(self, base: str, at: str) -> str:
        """Send it to another base URL than the manual's, and return the answer."""
        method = "GET" if self.body is None else "POST"
        url = self.url.replace(base, at)
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=self.headers, data=self.body) as answer,
        ):
            assert answer.status == 200
            return await answer.text()


CURLS = [Curl.of(words) for words in COMMANDS if words[0] == "curl"]


class ExampleInc:
    """The service of the tutorial.

    Attributes:
        url: where it is.
        asked: the bodies of the questions.
    """

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Any] = []

    async def log_in(self, request: web.Request) -> web.Response:
        login = msgspec.json.decode(CURLS[0].body or "")
        right = await request.json() == login
        return web.Response(text=SESSION) if right else self.refuse("unknown user or wrong secret")

    async def ask(self, request: web.Request) -> web.Response:
        if not self.knows(request):
            return self.refuse("log in first")
        self.asked.append(await request.json())
        return web.Response(text=EVENT)

    async def chat(self, request: web.Request) -> web.Response:
        """Answer at once, as the second example of `berlin recipe new` has it."""
        self.asked.append(await request.json())
        return await self.events(request)

    async def events(self, request: web.Request) -> web.Response:
        if not self.knows(request):
            return self.refuse("log in first")
        return web.Response(text=STREAM, content_type="text/event-stream")

    def knows(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == CURLS[1].headers["Authorization"]

    def refuse(self, problem: str) -> web.Response:
        return web.json_response({"problem": problem}, status=401)


@pytest.fixture
async def service() -> AsyncIterator[ExampleInc]:
    """Give the service of the tutorial."""
    example = ExampleInc()
    app = web.Application()
    app.add_routes(
        [
            web.post("/v1/session", example.log_in),
            web.post("/v1/ask", example.ask),
            web.post("/v1/chat", example.chat),
            web.get(CURLS[2].url.removeprefix(URL), example.events),
        ]
    )
    async with running(app) as example.url:
        yield example


class Reader:
    """Who follows the tutorial: a user with a terminal, and the service at another URL."""

    def __init__(self, cli: Cli, url: str) -> None:
        self.cli = cli.configure(CONFIG)
        self.folder = cli.config.parent
        self.url = url
        self.write(RECIPE)

    def write(self, recipe: str) -> None:
        """Save the recipe beside the configuration file."""
        (self.folder / "work.toml").write_text(recipe.replace(URL, self.url), "utf-8")

    def words(self, *named: str) -> list[str]:
        """Return the one command of the tutorial that begins so; files are in the folder."""
        (found,) = [words for words in COMMANDS if words[1 : len(named) + 1] == [*named]]
        is_file = re.compile(r"[a-z]+\.(toml|json)").fullmatch
        return [str(self.folder / word) if is_file(word) else word for word in found[1:]]

    async def run(self, *named: str, code: int = 0) -> str:
        """Run a command of the tutorial; who is asked for a login is ann. Return what it says."""
        words = self.words(*named)
        login = msgspec.json.decode(CURLS[0].body or "")
        given = named[0] == "login" or named[:2] in (("recipe", "try"), ("recipe", "record"))
        extra = ["--account", login["user"], "--password-stdin"] if given else []
        ended = await self.cli.run(*words, *extra, stdin=f"{login['secret']}\n" if given else "")
        assert ended.code == code, ended.err
        return ended.out.replace(self.url, URL).replace(f"{self.folder}/", "")

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Run `berlin serve`, and give its URL."""
        assert self.words("serve") == ["serve"]
        async with self.cli.serve() as (_, url):
            yield url


@pytest.fixture
def ann(tmp_path: Path, service: ExampleInc) -> Reader:
    return Reader(Cli(tmp_path), service.url)


async def test_by_hand(service: ExampleInc) -> None:
    """The service answers the commands of curl as the tutorial shows."""
    shown = [SESSION, EVENT, STREAM]
    assert [await curl.send(URL, service.url) for curl in CURLS[:3]] == shown


async def test_check_shows_what_the_manual_shows(ann: Reader) -> None:
    """`berlin recipe check` prints the block of the tutorial among the rest."""
    assert CHECKED in await ann.run("recipe", "check")


async def test_try_finds_the_text(ann: Reader, service: ExampleInc) -> None:
    """`berlin recipe try` sends what curl sent, and ends with the block of the tutorial."""
    assert TRIED in await ann.run("recipe", "try")
    assert service.asked == [msgspec.json.decode(CURLS[1].body or "")]


async def test_try_names_the_line_that_is_wrong(ann: Reader) -> None:
    """With the mistake that the tutorial makes, its line is named as the tutorial says."""
    assert RECIPE.count('text = "/answer"') == 1
    ann.write(RECIPE.replace('text = "/answer"', 'text = "/text"'))
    assert LIKELY in await ann.run("recipe", "try", code=5)


async def test_use(ann: Reader, service: ExampleInc) -> None:
    """Login, check and both chats work; model and option go where the recipe says."""
    await ann.run("login")
    assert "work works" in await ann.run("check")
    plain, fine = (words for words in COMMANDS if words[1] == "chat")
    assert (await ann.cli.run(*plain[1:])).out == "Hello Ann.\n"
    assert (await ann.cli.run(*fine[1:])).out == "Hello Ann.\n"
    assert [asked["settings"] for asked in service.asked[-2:]] == [
        {"engine": "swift", "temperature": 0.2},
        {"engine": "deep", "temperature": 0.9},
    ]


async def test_serve(ann: Reader) -> None:
    """`berlin serve` answers the last curl as the tutorial shows, but for id and time."""
    await ann.run("login")
    async with ann.serve() as url:
        got = msgspec.json.decode(await CURLS[3].send(GATEWAY, url))
    shown = msgspec.json.decode(COMPLETION)
    for document in (got, shown):
        assert document.pop("id").startswith("chatcmpl-")
        document.pop("created")
    assert got == shown


async def test_record_and_replay(ann: Reader) -> None:
    """A record of the service plays again without it, and holds no secret."""
    await ann.run("recipe", "record")
    record = (ann.folder / "hello.json").read_text("utf-8")
    assert "pw of ann" not in record
    assert "s3cr3t-9f2c" not in record
    ended = await ann.cli.run(*ann.words("recipe", "replay"))
    assert (ended.code, ended.out) == (0, "Hello Ann.\n"), ended.err
    assert "The same as recorded" in ended.err


async def test_the_fake_is_asked_as_it_says(ann: Reader) -> None:
    """The table that `berlin recipe serve` prints asks the service that it plays."""
    words = [*ann.words("recipe", "serve"), "--port", "0"]
    async with ann.cli.start(*words) as process, asyncio.timeout(30):
        table = ""
        while "password = " not in table:
            table += (await reader(process.stdout).readline()).decode()
        ann.cli.configure(table)
        ended = await ann.cli.run("chat", "-m", "fake", "What is Berlin?")
    assert (ended.code, ended.err) == (0, "")
    assert "into a streaming language model" in ended.out


async def test_the_first_draft_answers(ann: Reader, service: ExampleInc) -> None:
    """The files of the second command of `new` make a recipe that gets the text, at once."""
    login = f"curl {service.url}/v1/session -H 'Content-Type: application/json' --data-raw '%s'"
    chat = f"curl {service.url}/v1/chat -H '%s' -H 'Content-Type: application/json' -d '%s'"
    bearer = f"Authorization: {CURLS[1].headers['Authorization']}"
    given = {
        "login.txt": login % CURLS[0].body,
        "session.json": SESSION,
        "chat.txt": chat % (bearer, CURLS[1].body),
        "answer.txt": STREAM,
    }
    for name, text in given.items():
        (ann.folder / name).write_text(text, "utf-8")
    (words,) = [words for words in commands_of(DRAFTING) if "--login-curl" in words]
    is_file = re.compile(r"[a-z]+\.(toml|json|txt)").fullmatch
    made = await ann.cli.run(
        *(str(ann.folder / word) if is_file(word) else word for word in words[1:])
    )
    assert made.code == 0, made.err
    draft = ann.folder / "draft.toml"
    assert "pw of ann" not in draft.read_text("utf-8")
    login_as = ("--account", msgspec.json.decode(CURLS[0].body or "")["user"], "--password-stdin")
    tried = await ann.cli.run("recipe", "try", str(draft), *login_as, stdin="pw of ann\n")
    assert (tried.code, "Text: Hello Ann.\n" in tried.out) == (0, True), tried.err


def test_every_command_of_the_tutorial_is_followed() -> None:
    """No command stands in the tutorial that no test here follows."""
    followed = {
        *("recipe check", "recipe try", "recipe record", "recipe replay", "recipe serve"),
        *("login", "check", "chat", "serve"),
    }
    named = {
        " ".join(words[1:3]) if words[1] == "recipe" else words[1]
        for words in COMMANDS
        if words[0] == "berlin"
    }
    assert named == followed
    assert {words[0] for words in COMMANDS} == {"curl", "berlin"}
