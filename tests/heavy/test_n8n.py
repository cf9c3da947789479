"""Berlin's recipe for n8n against real workflows: streaming, and not."""

from __future__ import annotations

import asyncio
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
from berlin.types import Endpoint
from support.cli import Cli
from support.ports import free_port
from support.recipes import ask, client_of

from .adding import add_and_chat
from .node_programs import NODE, PERSON, Setup, workflow_of_n8n
from .programs import service
from .upstream import upstream

RECIPE = load_recipe("n8n")
ANN = Credentials.of("ann", "secret")
MODES = ("streaming", "lastNode")
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]


class Workflows(NamedTuple):
    """The running program, and the webhook of each mode."""

    url: str
    hooks: dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def workflows(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Workflows]:
    """A workflow of each mode, over a model service."""
    home, port = tmp_path_factory.mktemp("n8n"), free_port()
    program = str(NODE / "n8n/node_modules/n8n/bin/n8n")
    more = {"N8N_PORT": str(port), "N8N_DIAGNOSTICS_ENABLED": "false"}
    more |= {"N8N_VERSION_NOTIFICATIONS_ENABLED": "false", "N8N_TEMPLATES_ENABLED": "false"}
    async with (
        upstream() as models,
        service(
            home, "node", "node", program, "start", port=port, ready="/healthz/readiness", **more
        ) as url,
        aiohttp.ClientSession() as session,
    ):
        setup = Setup(session, url, {"browser-id": "b"})
        person = {**PERSON, "firstName": "Ann", "lastName": "A"}
        await setup.post("/rest/owner/setup", person)
        root = models.removesuffix("/v1")
        hooks = {mode: await workflow_of_n8n(setup, root, mode) for mode in MODES}
        for hook in hooks.values():  # registered a moment after it was activated
            async with asyncio.timeout(60):
                while (await session.post(f"{url}/webhook/{hook}/chat", json={})).status == 404:
                    await asyncio.sleep(0.2)
        yield Workflows(url, hooks)


@pytest.mark.parametrize("mode", MODES)
async def test_answers(workflows: Workflows, mode: str) -> None:
    """The text is that of the agent, streamed or in one piece."""
    async with client_of(RECIPE, workflows.url, ANN) as (provider, _):
        hook = workflows.hooks[mode]
        answer = await ask(provider, 'hello "big" мир 😀', model=hook, conversation_id="s1")
    assert answer.text == 'You said: hello "big" мир 😀'


async def test_a_wrong_password(workflows: Workflows) -> None:
    """A wrong password is refused."""
    wrong = Credentials.of("ann", "not it")
    async with client_of(RECIPE, workflows.url, wrong) as (provider, _):
        with pytest.raises(errors.PermissionDeniedError, match="Authorization data is wrong"):
            await ask(provider, "hi", model=workflows.hooks["lastNode"], conversation_id="s1")


async def test_it_is_recognised(workflows: Workflows) -> None:
    """Its page says what it is."""
    found = await recognise(Endpoint.of(workflows.url))
    assert [match.recipe for match in found.services] == ["n8n"]


@pytest.mark.parametrize("copied", [False, True])
async def test_berlin_add_on_a_terminal(tmp_path: Path, workflows: Workflows, copied: bool) -> None:
    """The address, a login and the webhook's id are enough; the chat's URL has the id."""
    cli = Cli(tmp_path)
    hook = workflows.hooks["streaming"]
    address = f"{workflows.url}/webhook/{hook}/chat" if copied else workflows.url
    answers = [("Account: ", "ann"), ("Password: ", "secret")]
    if not copied:
        answers.append(("Model ({model} in /webhook/{model}/chat): ", hook))
    await add_and_chat(cli, address, "n8n: GET / answers 200", *answers)
