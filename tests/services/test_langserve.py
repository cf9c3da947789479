"""Berlin's recipe for LangServe against a real chain behind a key."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from berlin import errors
from berlin.auth.credentials import Credentials
from berlin.recipes.recipe import load_recipe
from berlin.types import ChatRequest, Message, Secret
from support.recipes import client_of

from .support.asking import answer_to
from .support.programs import SERVICES, service

PROGRAM = SERVICES / "support" / "langserve_program.py"
KEY = Credentials(api_key=Secret("key-of-the-tests"))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of the chain."""
    async with service(tmp_path_factory.mktemp("langserve"), PROGRAM) as running:
        yield running


async def test_streams_with_the_whole_conversation(url: str) -> None:
    """Each piece of the model's answer arrives as it was sent; roles are LangChain's."""
    turns = [("system", "Be short."), ("user", "Hi"), ("assistant", "Hello"), ("user", "so what")]
    request = ChatRequest(tuple(Message.of(role, text) for role, text in turns))
    async with client_of(load_recipe("langserve"), url, KEY) as (provider, _):
        answer = await answer_to(provider, request)
    assert "".join(answer.pieces) == "Turn 4: so what"
    assert len(answer.pieces) > 1
    assert answer.whole.finish_reason == "stop"


async def test_a_broken_chain_and_a_wrong_key(url: str) -> None:
    """The first is an error of the service inside a 200, the second one of the login."""
    recipe = load_recipe("langserve")
    async with client_of(recipe, url, KEY) as (provider, _):
        with pytest.raises(errors.ServiceUnavailableError, match="Internal Server Error"):
            await answer_to(provider, ChatRequest.of("please fail"))
    async with client_of(recipe, url, Credentials(api_key=Secret("another"))) as (provider, _):
        with pytest.raises(errors.AuthenticationError, match="no such key"):
            await answer_to(provider, ChatRequest.of("Hi"))
