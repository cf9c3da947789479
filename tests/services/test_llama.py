"""Berlin's recipe for llama.cpp against the real server, with a tiny model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from berlin import errors
from berlin.auth.credentials import Credentials
from berlin.providers.http import HttpProvider
from berlin.recipes.recipe import load_recipe
from berlin.types import ChatRequest, Message, ResponseFormat, Secret, Tool, ToolResultPart
from support.recipes import client_of

from .conftest import KEY
from .support.asking import answer_to
from .support.llama import forced

CITY = '{"type":"object","properties":{"city":{"enum":["Paris","Rome"]}},"required":["city"]}'
WEATHER = Tool("weather", "The weather of a city", CITY)


@pytest.fixture
async def provider(open_llama_url: str) -> AsyncIterator[HttpProvider]:
    """Berlin's recipe as it is: the server asks for nothing."""
    async with client_of(load_recipe("llama-cpp"), open_llama_url) as (provider, _):
        yield provider


def asks(messages: Any = "Hello", **options: Any) -> ChatRequest:
    return ChatRequest.of(messages, **options)


async def test_streams_the_text(provider: HttpProvider) -> None:
    """The text comes in many pieces and is exactly what the model was forced to say."""
    text = 'One "two"\n<three> \\ {four} five six seven'
    answer = await answer_to(provider, asks(**forced(text)))
    assert answer.whole.text == text
    assert len(answer.pieces) > 5
    assert answer.whole.finish_reason == "stop"
    assert not answer.whole.reasoning


async def test_text_beyond_ascii(provider: HttpProvider) -> None:
    """Letters that the model makes of several tokens come whole."""
    text = "Привет, Köln 😀!"
    answer = await answer_to(provider, asks(**forced(text)))
    assert answer.whole.text == text
    assert "\ufffd" not in "".join(answer.pieces)


async def test_usage_is_the_server_s(provider: HttpProvider) -> None:
    """The server counts the tokens; nothing is guessed."""
    answer = await answer_to(provider, asks(max_tokens=3))
    assert answer.whole.finish_reason == "length"
    usage = answer.whole.usage
    assert usage is not None
    assert (usage.output_tokens, usage.estimated) == (3, False)
    assert usage.input_tokens > 3


async def test_the_same_seed_the_same_answer(provider: HttpProvider) -> None:
    """Options reach the model: its answer depends on the seed, and on nothing else."""
    first, again, other = [
        (await answer_to(provider, asks(seed=seed, max_tokens=20, ignore_eos=True))).whole.text
        for seed in (5, 5, 6)
    ]
    assert first == again != other


async def test_reasoning_is_not_text(provider: HttpProvider) -> None:
    """What the model thinks is told apart from what it says."""
    answer = await answer_to(provider, asks(**forced("<think>\nI see\n</think>\nIt rains")))
    assert (answer.whole.reasoning.strip(), answer.whole.text) == ("I see", "It rains")


async def test_calls_a_tool_and_takes_its_result(provider: HttpProvider) -> None:
    """A call comes whole with an id, and its result leads to an answer in words."""
    request = msgspec.structs.replace(asks(), tools=(WEATHER,))
    answer = await answer_to(provider, request)
    (call,) = answer.whole.tool_calls
    assert answer.whole.finish_reason == "tool_calls"
    assert call.name == "weather"
    assert call.id
    assert msgspec.json.decode(call.arguments)["city"] in ("Paris", "Rome")

    turns = (Message("assistant", (call,)), Message("tool", (ToolResultPart(call.id, "sunny"),)))
    then = msgspec.structs.replace(request, messages=request.messages + turns)
    answer = await answer_to(provider, then)
    assert answer.whole.text
    assert not answer.whole.tool_calls


async def test_an_answer_by_a_schema(provider: HttpProvider) -> None:
    """A schema reaches the server, which holds the model to it."""
    request = msgspec.structs.replace(asks(), response_format=ResponseFormat(CITY))
    answer = await answer_to(provider, request)
    assert msgspec.json.decode(answer.whole.text)["city"] in ("Paris", "Rome")


async def test_too_long_a_prompt(provider: HttpProvider) -> None:
    """The server's own name for it becomes Berlin's error, with the server's words."""
    with pytest.raises(errors.ContextLengthError, match="exceeds the available context size"):
        await answer_to(provider, asks("word " * 3000))


async def test_a_refused_request(provider: HttpProvider) -> None:
    """Options that the server cannot read are the caller's error."""
    with pytest.raises(errors.RequestRejectedError, match="mirostat"):
        await answer_to(provider, asks(mirostat="many"))


@pytest.mark.parametrize(("key", "refused"), [(KEY, False), ("wrong", True)])
async def test_with_a_key(llama_url: str, key: str, refused: bool) -> None:
    """A server that was started with a key answers to that key, and to no other."""
    recipe = load_recipe("llama-cpp")
    recipe = msgspec.structs.replace(recipe, auth=load_recipe("openai").auth)
    credentials = Credentials(api_key=Secret(key))
    async with client_of(recipe, llama_url, credentials) as (provider, _):
        if not refused:
            assert (await answer_to(provider, asks(**forced("Yes")))).whole.text == "Yes"
            return
        with pytest.raises(errors.AuthenticationError, match="Invalid API Key"):
            await answer_to(provider, asks())
