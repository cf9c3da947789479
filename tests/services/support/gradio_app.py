"""A Gradio chat behind a login."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from .programs import SERVICES, service

ACCOUNT, PASSWORD = "ann", "secret"
PROGRAM = SERVICES / "support" / "gradio_program.py"


@asynccontextmanager
async def gradio_app(home: Path) -> AsyncIterator[str]:
    """Run the app for the block, and give its URL."""
    async with service(home, PROGRAM) as url:
        yield url
