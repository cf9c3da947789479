"""Each service is started once for all tests of a process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from .support.gradio_app import gradio_app
from .support.identity import Identity, identity_provider
from .support.llama import llama, write_model
from .support.programs import PYTHON

KEY = "key-of-the-tests"


def pytest_configure(config: pytest.Config) -> None:
    """Say what is missing before the first test fails for it."""
    if not PYTHON.exists():
        raise pytest.UsageError("these tests need other people's programs: make test-services")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the tiny model."""
    return await write_model(tmp_path_factory.mktemp("model"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def llama_url(model: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of a server of llama.cpp that asks for KEY."""
    async with llama(tmp_path_factory.mktemp("llama"), model, KEY) as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def open_llama_url(
    model: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """The URL of a server of llama.cpp that asks for nothing."""
    async with llama(tmp_path_factory.mktemp("open"), model) as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gradio_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of a Gradio chat, with a login as ann."""
    async with gradio_app(tmp_path_factory.mktemp("gradio")) as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def identity(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Identity]:
    """An OpenID provider with a public client, and one that signs."""
    async with identity_provider(tmp_path_factory.mktemp("identity")) as found:
        yield found
