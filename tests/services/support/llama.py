"""The server of llama.cpp with a tiny model of random weights."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from .programs import PYTHON, SERVICES, run, service

MODEL = "tiny"
PROGRAM = SERVICES / "support" / "llama_program.py"
WRITER = SERVICES / "support" / "llama_model.py"


async def write_model(folder: Path) -> Path:
    """Write the model into a folder."""
    file = folder / "tiny.gguf"
    code, _, err = await run(folder, PYTHON, WRITER, file)
    assert code == 0, err
    return file


@asynccontextmanager
async def llama(home: Path, model: Path, key: str | None = None) -> AsyncIterator[str]:
    """Run the server for the block, and give its URL (without `/v1`).

    Args:
        home: a folder of its own.
        model: the file of the model.
        key: the API key to ask for, or None for an open server.
    """
    async with service(home, PROGRAM, model, *([key] if key else [])) as url:
        yield url


def forced(text: str) -> dict[str, str]:
    """A field for the request that makes any model of this server answer with exactly this text."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return {"grammar": f'root ::= "{escaped}"'}
