"""Recipes that say how their service keeps conversations: a chat is one conversation there."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from berlin.client import Berlin
from berlin.config import Config, Overrides, Settings
from berlin.config.resolve import resolve_settings
from berlin.config.schema import ConversationsConfig, ProviderConfig
from berlin.providers.contract import Burst
from berlin.recipes.recipe import load_recipe, resolve_endpoint
from berlin.types import ChatRequest, Finished, Message, TextDelta, Timeouts
from berlin.workbench.fake import CREDENTIALS, open_fake, redirect
from support.recipes import unattended

QUESTIONS = ["My name is Ann.", "What is my name?", "And yours?"]


class _Service:
    """Answers with the number of the turn, and remembers what it was asked."""

    def __init__(self) -> None:
        self.heard: list[list[str]] = []

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Answer the last message."""
        self.heard.append([message.text for message in request.messages])
        turn = sum(message.role == "user" for message in request.messages)
        yield [TextDelta(f"Turn {turn}.")]
        yield [Finished()]

    async def aclose(self) -> None:
        """Do nothing."""


def _client(name: str, url: str, store: str, tmp_path: Path) -> Berlin:
    config = Config(
        providers={"work": ProviderConfig(recipe=name)},
        conversations=ConversationsConfig(store=store),
    )
    values: dict[str, Any] = CREDENTIALS.values()
    known = {n: v for n, v in values.items() if n in ("account", "password", "api_key")}
    settings = resolve_settings("work", config, Overrides(url=url, **known))
    return Berlin.from_settings(settings)


@pytest.mark.parametrize("store", ["memory", "file"])
@pytest.mark.parametrize("name", ["dify", "gradio"])
async def test_a_chat_is_one_conversation(
    name: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each turn sends its own words only, and the service remembers the others; another client
    with the same words has a conversation of its own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    recipe, service = load_recipe(name), _Service()
    async with open_fake(recipe, service) as url:
        for tenant in ("ann", "bob"):
            messages: tuple[Message, ...] = ()
            for question in QUESTIONS:
                # A new client each time: with a file, the process may have been another one.
                client = _client(name, url, store, tmp_path)
                messages = (*messages, Message.of("user", question))
                request = ChatRequest(messages, tenant=tenant)
                answer = await client.ask(request)
                messages = (*messages, Message.of("assistant", answer.text))
                await client.aclose()
    whole = [*QUESTIONS[:1], "Turn 1.", *QUESTIONS[1:2], "Turn 2.", *QUESTIONS[2:]]
    once = [whole[:1], whole[:3], whole[:5]]
    assert service.heard == once + once


async def test_microsoft_keeps_the_conversation() -> None:
    """One conversation is created for a chat, and each turn sends only what is new in it."""
    recipe, service = unattended(load_recipe("m365-copilot")), _Service()
    lines: list[str] = []
    async with open_fake(recipe, service, note=lines.append) as url:
        parts = urlsplit(url)
        moved = redirect(recipe, f"{parts.scheme}://{parts.netloc}")
        endpoint = resolve_endpoint(moved.endpoint)
        client = Berlin.from_settings(Settings("work", moved, endpoint, CREDENTIALS, Timeouts()))
        messages: tuple[Message, ...] = ()
        for question in QUESTIONS:
            messages = (*messages, Message.of("user", question))
            answer = await client.ask(ChatRequest(messages))
            messages = (*messages, Message.of("assistant", answer.text))
        await client.aclose()
    whole = [QUESTIONS[0], "Turn 1.", QUESTIONS[1], "Turn 2.", QUESTIONS[2]]
    assert service.heard == [whole[:1], whole[:3], whole[:5]]
    assert sum("/copilot/conversations -> 200" in line for line in lines) == 1


async def test_an_edited_history_is_another_conversation(tmp_path: Path) -> None:
    """What was said otherwise than the service heard it is sent whole, to a new conversation."""
    recipe, service = load_recipe("dify"), _Service()
    async with open_fake(recipe, service) as url:
        client = _client("dify", url, "memory", tmp_path)
        first = Message.of("user", QUESTIONS[0])
        answer = await client.ask(ChatRequest((first,)))
        said = Message.of("assistant", answer.text)
        edited = Message.of("user", "My name is Bob.")
        await client.ask(ChatRequest((edited, said, Message.of("user", QUESTIONS[1]))))
        await client.aclose()
    assert len(service.heard[1]) == 1
    assert service.heard[1][0].startswith("User: My name is Bob.\n\nAssistant: Turn 1.")


def test_moved_recipes_keep_their_table() -> None:
    """A recipe that is played elsewhere still says how conversations are kept."""
    recipe = load_recipe("gradio")
    assert redirect(recipe, "http://127.0.0.1:1").conversations == recipe.conversations
    assert msgspec.structs.asdict(recipe)["conversations"] is not None
