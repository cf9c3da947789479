"""Clients of a gateway that runs as a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from support.cli import reader
from support.gateway import OPENAI, Dialect


@asynccontextmanager
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """Open a client without limits."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


async def ask(
    session: aiohttp.ClientSession, url: str, dialect: Dialect = OPENAI, model: str = "s:m1"
) -> tuple[int, bytes]:
    """Ask for a stream, and return the status and the whole answer."""
    body = dialect.body("Hi", model, True)
    async with session.post(url + dialect.path, json=body) as answer:
        return answer.status, await answer.read()


async def rest_of(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """Wait for the end, and return the exit code and what is left of stderr."""
    async with asyncio.timeout(30):
        said = await reader(process.stderr).read()
        return await process.wait(), said.decode()
