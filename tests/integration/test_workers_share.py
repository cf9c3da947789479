"""What two workers share without Redis: each line of the table in docs/operations.md.

One gateway with two workers serves all tests of this module, over services that the test plays.
Each request has a connection of its own, so that both workers get some.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from berlin.providers.contract import Burst
from berlin.recipes.recipe import load_recipe
from berlin.types import ChatRequest, Finished, TextDelta
from berlin.workbench.fake import CREDENTIALS, open_fake
from support.chat_service import ChatService
from support.cli import Cli
from support.face import PASSWORDS
from support.gateway import BERLIN, LOGIN, OPENAI
from support.manual import read
from support.serving import add_account, house, stopped

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """
[server]
workers = 2
[providers.{name}]
recipe = "dify"
url = "{url}"
api_key = "{key}"
models = ["m1"]
{more}
"""
ROUTED = """
[models.limited]
use = "counted"
retry = {{ attempts = 1 }}
[models.broken]
use = "down"
retry = {{ attempts = 1 }}
[providers.counted]
recipe = "dify"
url = "{url}"
api_key = "{key}"
limit = {{ requests_per_minute = 5, wait_s = 0 }}
[providers.down]
recipe = "dify"
url = "{down}"
api_key = "{key}"
breaker = {{ failures = 3, cool_down_s = 60 }}
"""
LINES = 12


class _Service:
    """Remembers what it was asked, and how many requests it had at once."""

    def __init__(self) -> None:
        self.heard: list[list[str]] = []
        self.open = self.most = 0

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Answer the last message."""
        self.heard.append([message.text for message in request.messages])
        self.open += 1
        self.most = max(self.most, self.open)
        await asyncio.sleep(0.01)
        yield [TextDelta("Hello.")]
        self.open -= 1
        yield [Finished()]

    async def aclose(self) -> None:
        """Do nothing."""


class _Down:
    """A service that closes each connection without an answer, once it has a request."""

    def __init__(self) -> None:
        self.asked = 0

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Close a connection. Before it has a request, the gateway would send that again."""
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        writer.transport.abort()


@dataclass
class _Fleet:
    """The gateway, the services behind it, and a client."""

    cli: Cli
    url: str
    session: aiohttp.ClientSession
    service: _Service
    house: ChatService
    down: _Down
    keys: dict[str, str] = field(default_factory=dict)

    async def post(self, path: str, body: dict[str, Any], key: str = "") -> tuple[int, Any]:
        """Send a request with the key of a name, or one made up."""
        sent = {"Authorization": f"Bearer {self.keys.get(key, key)}"} if key else {}
        async with self.session.post(self.url + path, json=body, headers=sent) as answer:
            data = await answer.read()
            return answer.status, json.loads(data) if data[:1] in b"{[" else data

    async def ask(self, model: str, key: str, *words: str) -> tuple[int, Any]:
        """Ask for a whole answer."""
        roles = ("user", "assistant")
        messages = [
            {"role": roles[at % 2], "content": text} for at, text in enumerate(words or ("Hi",))
        ]
        return await self.post(OPENAI.path, {"model": model, "messages": messages}, key)

    async def statuses(self, model: str, key: str, count: int = LINES) -> Counter[int]:
        """Ask several times, one after the other."""
        return Counter([(await self.ask(model, key))[0] for _ in range(count)])

    async def add_key(self, name: str, *args: str) -> None:
        """Add a key, and wait until both workers know it."""
        made = await self.cli.run("key", "add", name, *args)
        self.keys[name] = made.out.strip()
        async with asyncio.timeout(30):
            while set(await self.models(name)) != {200}:
                pass

    async def models(self, key: str) -> list[int]:
        """Return the statuses of some requests that ask no service."""
        found = []
        for _ in range(LINES):
            sent = {"Authorization": f"Bearer {self.keys.get(key, key)}"}
            async with self.session.get(self.url + "/v1/models", headers=sent) as answer:
                found.append(answer.status)
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[_Fleet]:
    """A gateway with two workers, a key and an account."""
    cli, service = Cli(tmp_path_factory.mktemp("workers")), _Service()
    key = CREDENTIALS.values()["api_key"]
    down = _Down()
    async with (
        ChatService() as behind_login,
        open_fake(load_recipe("dify"), service) as url,
        await asyncio.start_server(down.meet, "127.0.0.1") as nobody,
    ):
        port = nobody.sockets[0].getsockname()[1]
        more = house(behind_login.url, "models = ['m1']\nmodel = 'm1'")
        more += CONFIG.partition("workers = 2")[2].format(
            name="narrow", url=url, key=key, more="at_once = 1"
        )
        more += ROUTED.format(url=url, key=key, down=f"http://127.0.0.1:{port}")
        cli.configure(CONFIG.format(name="wide", url=url, key=key, more=more))
        await add_account(cli)
        made = await cli.run("key", "add", "ann")
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        async with (
            cli.serve() as (process, base),
            aiohttp.ClientSession(connector=connector) as session,
        ):
            yield _Fleet(cli, base, session, service, behind_login, down, {"ann": made.out.strip()})
            assert "Traceback" not in await stopped(process)


async def test_keys(fleet: _Fleet) -> None:
    """A new key is valid at all workers, and a revoked one at none, within a second."""
    await fleet.add_key("bob")
    assert set(await fleet.models("bob")) == {200}
    await fleet.cli.run("key", "revoke", "bob")
    await asyncio.sleep(1)
    assert 200 not in await fleet.models("bob")


async def test_rates_of_keys(fleet: _Fleet) -> None:
    """A key's requests per minute are counted by all workers together."""
    made = await fleet.cli.run("key", "add", "slow", "--rpm", "5")
    fleet.keys["slow"] = made.out.strip()
    await asyncio.sleep(1)  # until both workers know it
    assert await fleet.statuses("wide:m1", "slow") == {200: 5, 429: LINES - 5}


async def test_requests_at_once(fleet: _Fleet) -> None:
    """`at_once` holds for all workers together, and all that wait get their answer."""
    fleet.service.most = 0
    answers = await asyncio.gather(*(fleet.ask("narrow:m1", "ann") for _ in range(LINES)))
    assert {status for status, _ in answers} == {200}
    assert fleet.service.most == 1


async def test_limits_of_providers_and_models(fleet: _Fleet) -> None:
    """The limit of a provider is exact over all workers, through a model and directly."""
    some = await fleet.statuses("limited", "ann", 4)
    assert some + await fleet.statuses("counted:m1", "ann", 8) == {200: 5, 429: 7}


async def test_circuits(fleet: _Fleet) -> None:
    """What is down is left alone by all workers after three failures that any of them saw."""
    statuses = await fleet.statuses("broken", "ann")
    assert statuses == {502: 3, 503: LINES - 3}
    assert fleet.down.asked == 3


async def test_tokens_of_services(fleet: _Fleet) -> None:
    """The workers log in to a service once, together."""
    assert await fleet.statuses("house:m1", "ann") == {200: LINES}
    assert fleet.house.login_count == {"account": 1}


async def test_sessions_of_the_berlin_face(fleet: _Fleet) -> None:
    """A token that one worker has issued is valid at all."""
    given = {"account": "alice", "password": PASSWORDS["alice"]}
    _, answer = await fleet.post(LOGIN, given)
    token = answer["data"]["token"]
    body = {**BERLIN.body("Hi", "wide:m1", True), "options": {"model": "wide:m1"}}
    for _ in range(LINES):
        async with fleet.session.post(
            fleet.url + BERLIN.path, json=body, headers={"token": token}
        ) as answer:
            assert answer.status == 200, await answer.text()


async def test_conversations_of_services(fleet: _Fleet) -> None:
    """Whichever worker gets the next turn, it continues the conversation at the service."""
    words: list[str] = []
    for turn in range(6):
        words.append(f"Question {turn} of this conversation")
        status, answer = await fleet.ask("wide:m1", "ann", *words)
        assert status == 200, answer
        words.append(answer["choices"][0]["message"]["content"])
    assert len(fleet.service.heard[-1]) == 2 * 6 - 1, "the service remembers all earlier turns"


async def test_stored_responses(fleet: _Fleet) -> None:
    """A response that one worker has stored is found by all."""
    status, first = await fleet.post("/v1/responses", {"model": "wide:m1", "input": "Hi"}, "ann")
    assert status == 200, first
    for _ in range(LINES):
        body = {"model": "wide:m1", "input": "And?", "previous_response_id": first["id"]}
        status, answer = await fleet.post("/v1/responses", body, "ann")
        assert status == 200, answer


async def test_metrics(fleet: _Fleet) -> None:
    """All workers show the same counts."""
    headers = {"Authorization": f"Bearer {fleet.keys['ann']}"}
    await fleet.ask("wide:m1", "ann")
    seen = set()
    for _ in range(LINES):
        async with fleet.session.get(fleet.url + "/metrics", headers=headers) as answer:
            page = await answer.text()
        seen.add(tuple(re.findall(r"^berlin_events_total.*$", page, re.MULTILINE)))
    assert len(seen) <= 2, "at most one request was counted meanwhile"


async def test_wrong_keys_and_passwords(fleet: _Fleet) -> None:
    """Guesses are counted together: as many are free as with one process."""
    wrong = {"account": "mallory", "password": "wrong"}
    login = [(await fleet.post(LOGIN, wrong))[0] for _ in range(6)]
    assert login == [401] * 5 + [429]


async def test_the_manual_has_each_line() -> None:
    """docs/operations.md has a line for what these tests show."""
    table = read("docs/operations.md").partition("## What workers and replicas share")[2]
    for words in (
        "API keys",
        "limits and budgets",
        "wrong keys",
        "`at_once`",
        "`limit` of providers",
        "circuit breakers",
        "tokens of services",
        "sessions",
        "metrics",
    ):
        assert words in table
