"""Berlin's recipe for Chainlit against a real app: a password login, then Socket.IO."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from berlin import errors
from berlin.auth.credentials import Credentials
from berlin.providers.http import HttpProvider
from berlin.recipes.recipe import load_recipe
from berlin.recipes.recognise import recognise
from berlin.types import Endpoint
from support.ports import free_port
from support.recipes import ask, client_of

from .programs import service

APP = Path(__file__).with_name("chainlit_app.py")
ANN = Credentials.of("ann", "secret")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of the app."""
    home = tmp_path_factory.mktemp("chainlit")
    shutil.copy(APP, home / "app.py")
    port = free_port()
    command = ("chainlit", "run", "app.py", "--headless", "--port", str(port))
    secret = "a-secret-of-the-tests-with-32-bytes-or-more"
    async with service(
        home, "chainlit", *command, port=port, CHAINLIT_AUTH_SECRET=secret
    ) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def provider(url: str) -> AsyncIterator[HttpProvider]:
    """Berlin's recipe, for ann."""
    async with client_of(load_recipe("chainlit"), url, ANN) as (provider, _):
        yield provider


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ('hello "big" мир 😀', 'You said: hello "big" мир 😀'),
        ("whole please", "all at once"),
        ("two please", "one\n\ntwo"),
    ],
)
async def test_answers(provider: HttpProvider, prompt: str, text: str) -> None:
    """Text comes as it streams, or in one piece; several messages are one below the other."""
    assert (await ask(provider, prompt)).text == text


@pytest.mark.asyncio(loop_scope="session")
async def test_several_at_once(provider: HttpProvider) -> None:
    """Each request has a socket of its own, and gets its own answer."""
    answers = await asyncio.gather(*(ask(provider, f"number {n}") for n in range(5)))
    assert [a.text for a in answers] == [f"You said: number {n}" for n in range(5)]


@pytest.mark.asyncio(loop_scope="session")
async def test_an_error_of_the_app(provider: HttpProvider) -> None:
    """What the app says of its error is told."""
    with pytest.raises(errors.ServiceError, match="the model broke"):
        await ask(provider, "fail now")


@pytest.mark.asyncio(loop_scope="session")
async def test_a_wrong_password(url: str) -> None:
    """A wrong password is a refused login."""
    wrong = Credentials.of("ann", "not it")
    async with client_of(load_recipe("chainlit"), url, wrong) as (provider, _):
        with pytest.raises(errors.AuthenticationError):
            await ask(provider, "hi")


@pytest.mark.asyncio(loop_scope="session")
async def test_it_is_recognised(url: str) -> None:
    """Without credentials, from any of its pages."""
    found = await recognise(Endpoint.of(f"{url}/some/page"))
    assert [(match.recipe, match.url) for match in found.services] == [("chainlit", url)]
