"""The OpenAI face: the lists of models, paths without `/v1`, and pages of the web."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import pytest
from yarl import URL

from berlin import errors
from berlin.gateway.access.guard import Guard
from berlin.gateway.access.key_reader import KeyReader
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.gateway.setup import refresh_models
from berlin.providers.scripted import ScriptedProvider
from berlin.types import Finished, Usage, UsageReport
from support.gateway import OPENAI, Answer, At, make_key, serve

NAMES = ["org/model", "model:7b-q4", "a/b/c:d", "s:nested", "Модель", "with space", "100%"]


@pytest.mark.parametrize("prefix", ["/v1", ""])
async def test_list_of_models(prefix: str) -> None:
    """Every model stands in the list in OpenAI's form, with aliases and providers by name."""
    one = Service("s", ScriptedProvider(), NAMES)
    async with serve(one, Service("t", ScriptedProvider()), aliases={"quick": "s:org/model"}) as at:
        got = await at.get(f"{prefix}/models")
    assert got.status == 200
    assert got.headers["Content-Type"].startswith("application/json")
    assert got.json["object"] == "list"
    data = got.json["data"]
    assert [model["id"] for model in data] == ["quick", "s", *(f"s:{name}" for name in NAMES), "t"]
    for model in data:
        assert model["object"] == "model"
        assert type(model["created"]) is int
        assert model["owned_by"] == ("t" if model["id"] == "t" else "s")


async def one_model(at: At, path: str) -> Answer:
    """Ask for a page whose path is sent as it is written."""
    async with at.session.get(URL(at.url + path, encoded=True)) as answer:
        return Answer(OPENAI, answer.status, answer.headers, await answer.read())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prefix", ["/v1", ""])
async def test_one_model(prefix: str, name: str) -> None:
    """A model is found by its id, with slashes and colons written plainly or escaped."""
    async with serve(Service("s", ScriptedProvider(), NAMES)) as at:
        for written in (quote(f"s:{name}", safe="/:"), quote(f"s:{name}", safe="")):
            got = await one_model(at, f"{prefix}/models/{written}")
            assert got.status == 200, written
            assert got.json["id"] == f"s:{name}"
            assert (await at.ask(OPENAI, model=f"s:{name}")).status == 200


async def test_chat_without_the_prefix() -> None:
    """A client whose base URL has no `/v1` is answered too."""
    async with serve(Service("s", ScriptedProvider(), ["m1"])) as at:
        body = OPENAI.body("Hi", "s:m1", False)
        async with at.session.post(f"{at.url}/chat/completions", json=body) as answer:
            assert answer.status == 200
            assert (await answer.json())["choices"][0]["message"]["content"] == "Hello"


async def test_models_are_told_while_a_service_hangs() -> None:
    """The list never waits for a service: what was known last is told at once."""
    never = asyncio.Event()
    lists: list[list[str]] = [["a/b:c"]]

    async def fetch() -> Iterable[str]:
        if lists:
            return lists.pop()
        await never.wait()
        return ()

    gateway = Gateway(Catalog([Service("s", ScriptedProvider(), fetch=fetch)]))
    async with serve(gateway=gateway) as at:
        await refresh_models(gateway)
        hanging = asyncio.create_task(refresh_models(gateway))
        await asyncio.sleep(0)
        async with asyncio.timeout(30):
            got = await at.get("/v1/models")
        assert not hanging.done()
        hanging.cancel()
    assert [model["id"] for model in got.json["data"]] == ["s", "s:a/b:c"]


async def test_models_of_a_dead_service_stay(caplog: pytest.LogCaptureFixture) -> None:
    """A service that fails keeps the models that it had, and the log says why."""
    answers: list[list[str]] = [["m1"]]

    async def fetch() -> Iterable[str]:
        if answers:
            return answers.pop()
        raise errors.ConnectError("nobody listens")

    gateway = Gateway(Catalog([Service("s", ScriptedProvider(), fetch=fetch)]))
    async with serve(gateway=gateway) as at:
        await refresh_models(gateway)
        await refresh_models(gateway)
        assert (await at.get("/v1/models/s:m1")).status == 200
    assert "models.failed provider=s error=nobody listens" in caplog.text


ORIGIN = "https://chat.example.com"


async def test_pages_that_may_ask(tmp_path: Path) -> None:
    """A browser's question needs no key; answers, streams and errors may be read by the page."""
    path = tmp_path / "keys.sqlite"
    key = make_key(path, "k")
    script = ["a", UsageReport(Usage(1, 1)), Finished()]
    gateway = Gateway(
        Catalog([Service("s", ScriptedProvider(script), ["m1"])]),
        Guard(KeyReader(path), cors_origins=(ORIGIN,)),
    )
    async with serve(gateway=gateway) as at:
        question = {
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, x-stainless-os",
        }
        asked = await at.get(OPENAI.path, "OPTIONS", **question)
        assert asked.status == 204
        assert asked.headers["Access-Control-Allow-Methods"] == "GET, POST"
        allowed = asked.headers["Access-Control-Allow-Headers"]
        assert allowed == "authorization, x-stainless-os"
        at.key = key
        origin = {"Origin": ORIGIN}
        for got, status in (
            (asked, 204),
            (await at.ask(OPENAI, headers=origin), 200),
            (await at.ask(OPENAI, stream=True, headers=origin), 200),
            (await at.ask(OPENAI, n=2, headers=origin), 400),
            (await at.ask(OPENAI, key="bk-x", headers=origin), 401),
            (await at.get("/v1/models", **origin), 200),
        ):
            assert got.status == status
            assert got.headers["Access-Control-Allow-Origin"] == ORIGIN
            assert got.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Origin" not in (await at.ask(OPENAI)).headers


async def test_pages_that_may_not_ask() -> None:
    """Without [server] cors_origins no page of the web may ask."""
    async with serve(Service("s", ScriptedProvider(), ["m1"])) as at:
        question = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
        for got in (
            await at.get(OPENAI.path, "OPTIONS", **question),
            await at.ask(OPENAI, headers={"Origin": ORIGIN}),
        ):
            assert got.status == 403
            assert got.json["error"]["code"] == "forbidden"
            assert "Access-Control-Allow-Origin" not in got.headers
