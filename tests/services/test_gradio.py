"""Berlin's recipe for Gradio against a real app with a login."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from berlin import errors
from berlin.auth.credentials import Credentials
from berlin.client import Berlin
from berlin.config import Config, Overrides, resolve_settings
from berlin.config.schema import ProviderConfig
from berlin.providers.http import HttpProvider
from berlin.recipes.recipe import load_recipe
from berlin.recipes.recognise import recognise
from berlin.types import ChatRequest, Endpoint, Message
from support.cli import Cli
from support.recipes import client_of

from .support.asking import answer_to
from .support.gradio_app import ACCOUNT, PASSWORD

OURS = Credentials.of(ACCOUNT, PASSWORD)


@pytest.fixture
async def provider(gradio_url: str) -> AsyncIterator[HttpProvider]:
    """Berlin's recipe, for the account of the app."""
    async with client_of(load_recipe("gradio"), gradio_url, OURS) as (provider, _):
        yield provider


async def end_all_sessions(url: str) -> None:
    """Log in once more as the same user and log out: Gradio ends each session of that user."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        form = {"username": ACCOUNT, "password": PASSWORD}
        async with session.post(f"{url}/login", data=form) as answer:
            assert answer.status == 200
        async with session.get(f"{url}/logout", allow_redirects=False) as answer:
            assert answer.status == 302


async def test_streams_what_is_new(provider: HttpProvider) -> None:
    """The app sends all the text each time; Berlin hands on what was added, once."""
    answer = await answer_to(provider, ChatRequest.of('hello "big" \\ мир 😀'))
    assert answer.pieces == ["Turn 1:", " hello", ' "big"', " \\", " мир", " 😀"]
    assert answer.whole.finish_reason == "stop"


async def test_a_conversation_is_kept_there(provider: HttpProvider) -> None:
    """Requests of one conversation are turns of it; the others are first turns."""
    said = [
        (await answer_to(provider, ChatRequest.of("hi", conversation_id=name))).whole.text
        for name in ("a", "a", "b", None)
    ]
    assert said == ["Turn 1: hi", "Turn 2: hi", "Turn 1: hi", "Turn 1: hi"]


async def test_a_wrong_password(gradio_url: str) -> None:
    """Gradio answers a wrong password with 400; it is a refused login all the same."""
    wrong = Credentials.of(ACCOUNT, "not it")
    async with client_of(load_recipe("gradio"), gradio_url, wrong) as (provider, _):
        with pytest.raises(errors.AuthenticationError):
            await answer_to(provider, ChatRequest.of("hi"))


async def test_logs_in_again(provider: HttpProvider, gradio_url: str) -> None:
    """A session that was ended from elsewhere costs the caller nothing."""
    assert (await answer_to(provider, ChatRequest.of("one"))).whole.text == "Turn 1: one"
    await end_all_sessions(gradio_url)
    assert (await answer_to(provider, ChatRequest.of("two"))).whole.text == "Turn 1: two"


async def test_an_error_in_the_middle(provider: HttpProvider) -> None:
    """What the app says of its error is told."""
    with pytest.raises(errors.ServiceError, match="the model broke"):
        await answer_to(provider, ChatRequest.of("well fail now"))


async def test_an_error_without_words(provider: HttpProvider) -> None:
    """An app that keeps its error to itself does not end the answer as if it were whole."""
    with pytest.raises(errors.ServiceError):
        await answer_to(provider, ChatRequest.of("well crash now"))


async def test_several_at_once(provider: HttpProvider) -> None:
    """The app answers one after the other; each caller gets the own answer."""
    answers = await asyncio.gather(
        *(answer_to(provider, ChatRequest.of(f"number {n}")) for n in range(5))
    )
    assert [a.whole.text for a in answers] == [f"Turn 1: number {n}" for n in range(5)]


async def test_a_chat_is_one_conversation_there(gradio_url: str) -> None:
    """Each turn of a chat sends its own words only, and the app counts it as the next turn."""
    config = Config(providers={"work": ProviderConfig(recipe="gradio")})
    given = Overrides(url=gradio_url, account=ACCOUNT, password=PASSWORD)
    client = Berlin.from_settings(resolve_settings("work", config, given))
    messages: tuple[Message, ...] = ()
    for turn in (1, 2, 3):
        messages = (*messages, Message.of("user", f"hi {turn}"))
        answer = await client.ask(ChatRequest(messages))
        assert answer.text == f"Turn {turn}: hi {turn}"
        messages = (*messages, Message.of("assistant", answer.text))
    again = await client.ask(ChatRequest(messages[:1]))
    assert again.text == "Turn 1: hi 1"
    await client.aclose()


async def test_it_is_recognised_without_credentials(gradio_url: str) -> None:
    """`berlin add` knows a real app with a login by what it shows to everybody."""
    found = await recognise(Endpoint.of(f"{gradio_url}/some/page"))
    [match] = found.services
    assert (match.recipe, match.url, match.login) == ("gradio", gradio_url, True)


async def test_berlin_add_on_a_terminal(tmp_path: Path, gradio_url: str) -> None:
    """Its page says that it requires a login; account and password are all that is asked for."""
    cli = Cli(tmp_path)
    async with cli.terminal("add", gradio_url) as terminal:
        await terminal.sees(f"{gradio_url} is gradio: ")
        await terminal.fills("Account (username): ", ACCOUNT)
        await terminal.fills("Password: ", PASSWORD)
        await terminal.sees("Turn 1: Hello")
        await terminal.sees("berlin chat")
        assert await terminal.ends() == 0
    asked = await cli.run("chat", "Hi")
    assert (asked.code, asked.out) == (0, "Turn 1: Hi\n")
