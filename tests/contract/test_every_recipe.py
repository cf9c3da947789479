"""Every face, and the class Berlin, over every recipe that comes with Berlin."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from berlin import Berlin
from berlin.gateway.catalog import Service
from berlin.providers.http import HttpProvider
from berlin.providers.scripted import ScriptedProvider
from berlin.recipes.recipe import load_recipe, recipe_names
from berlin.types import ChatRequest, Finished
from support.face import PASSWORDS
from support.gateway import BERLIN, DIALECTS, At, serve
from support.recipes import PLAIN_CHAT, fake_and_client, recipe_of, unattended

NAMES = recipe_names()
PIECES = ["Hel", "lo, ", "world"]
TEXT = "Hello, world"


def provider_of(name: str, scripted: ScriptedProvider) -> AsyncIterator[HttpProvider]:
    """Give the provider of a shipped recipe, over a fake of its service."""
    recipe = unattended(load_recipe(name))
    # With credentials, also where the service may do without: the fake wants them.
    return fake_and_client(recipe, scripted)


@asynccontextmanager
async def gateway_over(name: str) -> AsyncIterator[At]:
    """Run a gateway over the fake service of a shipped recipe."""
    scripted = ScriptedProvider([*PIECES, Finished()])
    async with (
        provider_of(name, scripted) as provider,
        serve(Service("s", provider, models=("m1",))) as at,
    ):
        yield at


@pytest.mark.parametrize("name", NAMES)
async def test_every_face_over_every_recipe(name: str) -> None:
    """Each recipe answers what clients of a dialect send at least, streamed and whole, and the
    class Berlin, which always sends its default options.
    """
    async with gateway_over(name) as at, Berlin(at.url, "alice", PASSWORDS["alice"]) as berlin:
        for dialect in DIALECTS:
            for stream in (True, False):
                answer = await at.ask(dialect, stream=stream)
                assert (answer.status, answer.text) == (200, TEXT), (dialect, answer.data)
        assert (await berlin.ask("Hi", model="s:m1")).text == TEXT


async def test_an_option_that_a_client_chose_is_still_refused() -> None:
    """What differs from what the class sends unasked was wanted: a service without it says so."""
    recipe = recipe_of(PLAIN_CHAT)
    scripted = ScriptedProvider([*PIECES, Finished()])
    async with (
        fake_and_client(recipe, scripted) as provider,
        serve(Service("s", provider, models=("m1",))) as at,
    ):
        unasked = await at.post(BERLIN, _with_temperature(0))
        chosen = await at.post(BERLIN, _with_temperature(0.7))
    assert unasked.status == 200
    assert chosen.status == 400
    assert "temperature" in chosen.message


def test_a_recipe_can_ignore_options() -> None:
    """With `options = "ignore"` an option is left out instead of refused, and named."""
    call = _encoded({**PLAIN_CHAT, "options": "ignore"}, frozenset())
    assert b"temperature" not in call.body
    assert call.dropped == ("temperature",)


def test_an_option_of_the_class_reaches_a_service_that_takes_it() -> None:
    """A temperature of 0, unasked or not, goes to a service that has options."""
    chat = {**PLAIN_CHAT, "json": {"prompt": "{prompt}", "o": {}}, "options": "/o"}
    call = _encoded(chat, frozenset({"temperature"}))
    assert json.loads(call.body)["o"] == {"temperature": 0}


def _encoded(chat: dict[str, Any], unasked: frozenset[str]) -> Any:
    """Return what a described format sends for a temperature of 0."""
    request = ChatRequest.of("Hi", temperature=0)
    exchange = (
        recipe_of(chat).format().encode_request(msgspec.structs.replace(request, unasked=unasked))
    )
    with pytest.raises(StopIteration) as done:
        next(exchange)
    return done.value.value


def _with_temperature(value: float) -> dict[str, Any]:
    body = BERLIN.body("Hi", "s:m1", True)
    return {**body, "options": {**body["options"], "temperature": value}}
