"""A conversation on a terminal, with line editing and a history of what was asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from contextlib import aclosing
from typing import Any

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from berlin.cli.terminal import open_writer
from berlin.config import data_path
from berlin.errors import BerlinError
from berlin.providers.base import AsyncGeneratorProvider


async def converse(
    provider: AsyncGeneratorProvider,
    model: str,
    messages: list[dict[str, str]],
    options: dict[str, Any],
) -> int:
    """Ask and answer until Ctrl-D; an error ends an answer, not the conversation."""
    session: PromptSession[str] = PromptSession(history=_open_history())
    click.echo("Ctrl-C stops an answer, Ctrl-D ends the conversation.", err=True)
    while True:
        try:
            question = await session.prompt_async("> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return 0
        if not question.strip():
            continue
        asked = [*messages, {"role": "user", "content": question}]
        text = await _answer(provider, model, asked, options)
        if text:
            messages = [*asked, {"role": "assistant", "content": text}]


async def _answer(
    provider: AsyncGeneratorProvider,
    model: str,
    messages: list[dict[str, str]],
    options: dict[str, Any],
) -> str:
    """Show an answer and return what came of it, also if it was stopped or broke off."""
    text: list[str] = []

    async def show() -> None:
        writer = open_writer()
        try:
            async with aclosing(provider.text(messages, model=model, **options)) as pieces:
                async for piece in pieces:
                    text.append(piece)
                    writer.write(piece)
        finally:
            writer.close()

    task = asyncio.ensure_future(show())
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends the program there
        loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        if not task.cancelled():
            raise
    except BerlinError as error:
        click.echo(f"berlin: {error.message}", err=True)
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
    return "".join(text)


def _open_history() -> History:
    path = data_path("history")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))
