"""Berlin's recipe for Flowise against a real flow, which has a key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
import pytest_asyncio

from berlin import errors
from berlin.auth.credentials import Credentials
from berlin.recipes.recipe import load_recipe
from berlin.recipes.recognise import recognise
from berlin.types import Endpoint, Secret
from support.cli import Cli
from support.ports import free_port
from support.recipes import ask, client_of

from .adding import add_and_chat
from .node_programs import NODE, Setup, flow_of_flowise
from .programs import service
from .upstream import upstream

RECIPE = load_recipe("flowise")
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]


class Flow(NamedTuple):
    """A running flow."""

    url: str
    id: str
    key: Credentials


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def flow(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Flow]:
    """A flow over a model service."""
    home, port = tmp_path_factory.mktemp("flowise"), free_port()
    modules = NODE / "flowise/node_modules"
    (home / "node_modules").symlink_to(modules)  # where it looks for its database's driver
    program = str(modules / "flowise/bin/run")
    # The model service is on this machine, which Flowise refuses by default.
    more = {"PORT": str(port), "HTTP_SECURITY_CHECK": "false"}
    async with (
        upstream() as models,
        service(home, "node", "node", program, "start", port=port, **more) as url,
        aiohttp.ClientSession() as session,
    ):
        setup = Setup(session, url, {"x-request-from": "internal"})
        made, key = await flow_of_flowise(setup, models.removesuffix("/v1"))
        yield Flow(url, made, Credentials(api_key=Secret(key)))


async def test_answers_and_remembers(flow: Flow) -> None:
    """The text streams, and the flow keeps the conversation under the session's id."""
    async with client_of(RECIPE, flow.url, flow.key) as (provider, _):
        answer = await ask(provider, 'hello "big" мир 😀', model=flow.id, conversation_id="s1")
        again = await ask(provider, "history", model=flow.id, conversation_id="s1")
    assert answer.text == 'You said: hello "big" мир 😀'
    assert answer.finish_reason == "stop"
    assert 'user: hello "big" мир 😀' in again.text


async def test_a_wrong_key(flow: Flow) -> None:
    """A wrong key is an error with the service's words: it answers 200 and an event."""
    wrong = Credentials(api_key=Secret("not it"))
    async with client_of(RECIPE, flow.url, wrong) as (provider, _):
        with pytest.raises(errors.BerlinError, match="Unauthorized"):
            await ask(provider, "hi", model=flow.id)


async def test_it_is_recognised(flow: Flow) -> None:
    """Its page says what it is."""
    found = await recognise(Endpoint.of(flow.url))
    assert [match.recipe for match in found.services] == ["flowise"]


@pytest.mark.parametrize("copied", [False, True])
async def test_berlin_add_on_a_terminal(tmp_path: Path, flow: Flow, copied: bool) -> None:
    """The address, the flow's id and its key are enough; the address of its API has the id."""
    cli = Cli(tmp_path)
    address = f"{flow.url}/api/v1/prediction/{flow.id}" if copied else flow.url
    answers = [
        ("Does the service require an API key? [y/N]: ", "y"),
        ("API key: ", flow.key.values()["api_key"]),
    ]
    if not copied:
        answers.append(("Model ({model} in /api/v1/prediction/{model}): ", flow.id))
    await add_and_chat(cli, address, "flowise: GET / answers 200", *answers)
