"""Prometheus, scraping a gateway."""

from __future__ import annotations

import asyncio
import shutil
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from support.ports import free_port

READY_S = 60.0


class Prometheus:
    """A server of its own.

    Args:
        session: its client.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def query(self, expression: str) -> list[Any]:
        """Return what an expression comes to."""
        async with self._session.get("/api/v1/query", params={"query": expression}) as answer:
            found = await answer.json()
        assert found["status"] == "success", f"{expression}: {found}"
        result: list[Any] = found["data"]["result"]
        return result


@asynccontextmanager
async def prometheus(folder: Path, config: str) -> AsyncIterator[Prometheus]:
    """Run Prometheus for the block."""
    (folder / "prometheus.yml").write_text(config)
    address = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        *("prometheus", f"--config.file={folder}/prometheus.yml", "--log.level=error"),
        *(f"--web.listen-address={address}", f"--storage.tsdb.path={folder}/data"),
        stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, cwd=folder,
    )  # fmt: skip
    try:
        async with aiohttp.ClientSession(f"http://{address}") as session:
            async with asyncio.timeout(READY_S):
                while not await _is_ready(session):
                    assert process.returncode is None
                    await asyncio.sleep(0.05)
            yield Prometheus(session)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def promtool(*words: str | Path, given: str = "") -> None:
    """Run promtool; fail with what it says if it finds something."""
    assert shutil.which("promtool"), "promtool is missing: apt-get install prometheus"
    process = await asyncio.create_subprocess_exec(
        "promtool", *words, stdin=PIPE, stdout=PIPE, stderr=STDOUT
    )
    said, _ = await process.communicate(given.encode())
    assert process.returncode == 0, said.decode()


async def _is_ready(session: aiohttp.ClientSession) -> bool:
    try:
        async with session.get("/-/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
