"""Berlin against a real proxy of LiteLLM: it is recognised, and used with one of its keys."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from berlin.recipes.recognise import recognise
from berlin.types import Endpoint
from support.cli import Cli
from support.ports import free_port

from .adding import add_and_chat
from .programs import service
from .upstream import MODEL, upstream

KEY = "sk-the-key-of-the-tests"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of the proxy, over a model service, with the name `work` for its model."""
    home = tmp_path_factory.mktemp("litellm")
    port, config = free_port(), home / "config.json"
    async with upstream() as models:
        behind = {"model": f"openai/{MODEL}", "api_base": models, "api_key": "none"}
        config.write_text(
            json.dumps({"model_list": [{"model_name": "work", "litellm_params": behind}]})
        )
        async with service(
            *(home, "litellm", "litellm", "--config", str(config), "--host", "127.0.0.1"),
            *("--port", str(port)),
            port=port,
            ready="/health/liveliness",
            LITELLM_MASTER_KEY=KEY,
            LITELLM_LOCAL_MODEL_COST_MAP="True",
        ) as running:
            yield running


@pytest.mark.asyncio(loop_scope="session")
async def test_it_is_recognised(url: str) -> None:
    """Without credentials, from any of its addresses, and taken for no other service."""
    for place in (url, f"{url}/v1", f"{url}/ui/"):
        found = await recognise(Endpoint.of(place))
        assert [(match.recipe, match.url) for match in found.services] == [("litellm", url)]


@pytest.mark.asyncio(loop_scope="session")
async def test_berlin_add_on_a_terminal(tmp_path: Path, url: str) -> None:
    """The address and a key are enough for a first answer."""
    cli = Cli(tmp_path)
    found = "litellm: GET /health/liveliness answers 200"
    asks_for_key = ("Does the service require an API key? [y/N]: ", "y")
    await add_and_chat(cli, url, found, asks_for_key, ("API key: ", KEY))
    listed = await cli.run("models")
    assert listed.out == "litellm:work  *\n"
