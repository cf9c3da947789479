"""Berlin's recipe for Open WebUI against a real one: a sign-in, then its API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from berlin import Berlin, errors
from berlin.auth.credentials import Credentials
from berlin.providers.http import HttpProvider
from berlin.recipes.recipe import load_recipe
from support.cli import Cli
from support.ports import free_port
from support.recipes import ask, client_of

from .programs import service
from .upstream import MODEL, upstream

EMAIL, PASSWORD = "ann@example.com", "secret-of-ann"
RECIPE = load_recipe("open-webui")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of an Open WebUI over a model service, with ann as its first user."""
    home: Path = tmp_path_factory.mktemp("open-webui")
    port = free_port()
    async with (
        upstream() as models,
        service(
            home,
            "open-webui",
            *("open-webui", "serve", "--host", "127.0.0.1", "--port", str(port)),
            port=port,
            ready="/health",
            DATA_DIR=str(home / "data"),
            WEBUI_SECRET_KEY="a-secret-of-the-tests",
            OFFLINE_MODE="true",
            ANONYMIZED_TELEMETRY="false",
            ENABLE_OLLAMA_API="false",
            OPENAI_API_BASE_URL=models,
            OPENAI_API_KEY="none",
        ) as running,
    ):
        person = {"name": "Ann", "email": EMAIL, "password": PASSWORD}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{running}/api/v1/auths/signup", json=person) as answer,
        ):
            assert answer.status == 200, await answer.text()
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def provider(url: str) -> AsyncIterator[HttpProvider]:
    """Berlin's recipe, for ann."""
    async with client_of(RECIPE, url, Credentials.of(EMAIL, PASSWORD)) as (provider, _):
        yield provider


@pytest.mark.asyncio(loop_scope="session")
async def test_lists_models_and_answers(provider: HttpProvider) -> None:
    """The models are those of the service behind it, and the text comes as it streams."""
    assert RECIPE.models.fetch is not None
    assert await provider.list_models(RECIPE.models.fetch) == (MODEL,)
    answer = await ask(provider, 'hello "big" мир 😀', model=MODEL)
    assert answer.text == 'You said: hello "big" мир 😀'
    assert answer.finish_reason == "stop"


@pytest.mark.asyncio(loop_scope="session")
async def test_a_model_that_is_not_there(provider: HttpProvider) -> None:
    """An unknown model is a typed error with the service's words."""
    with pytest.raises(errors.RequestRejectedError, match=r"[Mm]odel not found"):
        await ask(provider, "hi", model="nobody")


@pytest.mark.asyncio(loop_scope="session")
async def test_a_wrong_password(url: str) -> None:
    """A wrong password is a refused login."""
    wrong = Credentials.of(EMAIL, "not it")
    async with client_of(RECIPE, url, wrong) as (provider, _):
        with pytest.raises(errors.AuthenticationError):
            await ask(provider, "hi", model=MODEL)


@pytest.mark.asyncio(loop_scope="session")
async def test_a_saved_chat_is_continued(url: str) -> None:
    """Turns of one conversation are one chat there, an edited one is a second, a lost one a third.

    Open WebUI keeps the history: it is sent the last turn only, and the model sees all.
    """
    said: list[dict[str, str]] = []

    async def turn(berlin: Berlin, text: str) -> str:
        said.append({"role": "user", "content": text})
        answer = await berlin.ask(said, model=MODEL)
        said.append({"role": "assistant", "content": answer.text})
        return answer.text

    async with Berlin(url, recipe="open-webui-chats", account=EMAIL, password=PASSWORD) as berlin:
        token = (await berlin.token()).value.reveal()
        assert await turn(berlin, "one") == "You said: one"
        assert (
            await turn(berlin, "history") == "user: one\nassistant: You said: one\nuser: history\n"
        )
        assert len(await _chats(url, token)) == 1
        said[:] = [{"role": "user", "content": "other"}, *said[1:]]
        assert (await turn(berlin, "two")).startswith("You said:")
        second = await _chats(url, token)
        assert len(second) == 2
        await _chats(url, token, delete=True)
        assert "You said:" in await turn(berlin, "three")
        assert len(await _chats(url, token)) == 1


async def _chats(url: str, token: str, *, delete: bool = False) -> list[str]:
    """Return the ids of the account's chats, or delete all."""
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.get(f"{url}/api/v1/chats/") as answer:
            found = [chat["id"] for chat in await answer.json()]
        if delete:
            async with session.delete(f"{url}/api/v1/chats/") as answer:
                assert answer.status == 200
    return found


@pytest.mark.asyncio(loop_scope="session")
async def test_berlin_add_on_a_terminal(tmp_path: Path, url: str) -> None:
    """The address is enough: it is recognised, its only model is taken, and it answers."""
    cli = Cli(tmp_path)
    async with cli.terminal("add", url) as terminal:
        await terminal.sees(f"{url} is open-webui: ")
        await terminal.fills("Account (email): ", EMAIL)
        await terminal.fills("Password: ", PASSWORD)
        await terminal.sees("You said: Hello")
        assert await terminal.ends() == 0
    asked = await cli.run("chat", "Hi")
    assert (asked.code, asked.out) == (0, "You said: Hi\n")
