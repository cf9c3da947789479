"""A conversation on a terminal, with line editing and a history of what was asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from typing import Any, TypeAlias

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from berlin.cli.terminal import open_writer
from berlin.config import data_path
from berlin.errors import BerlinError
from berlin.providers.facade import ChatProvider

Opening: TypeAlias = AbstractAsyncContextManager[tuple[ChatProvider, str]]
"""Gives a provider, and its own name of the model."""

Load: TypeAlias = Callable[[], Opening]
"""Loads what a provider needs, which takes a while, and returns what opens it."""


async def converse(load: Load, messages: list[dict[str, str]], options: dict[str, Any]) -> int:
    """Ask and answer until Ctrl-D; an error ends an answer, not the conversation.

    The provider is loaded while the first question is being typed.

    Raises:
        BerlinError: if the provider cannot be opened.
    """
    session: PromptSession[str] = PromptSession(history=_open_history())
    click.echo("Ctrl-C stops an answer, Ctrl-D ends the conversation.", err=True)

    def give_up(opening: asyncio.Task[Any]) -> None:
        error = None if opening.cancelled() else opening.exception()
        if error is not None and session.app.is_running:
            session.app.exit(exception=error)

    async with AsyncExitStack() as stack:
        opening = asyncio.create_task(_open(load, stack))
        opening.add_done_callback(give_up)
        try:
            return await _converse(session, opening, messages, options)
        finally:
            opening.cancel()
            await asyncio.wait([opening])


async def _open(load: Load, stack: AsyncExitStack) -> tuple[ChatProvider, str]:
    return await stack.enter_async_context(await asyncio.to_thread(load))


async def _converse(
    session: PromptSession[str],
    opening: Awaitable[tuple[ChatProvider, str]],
    messages: list[dict[str, str]],
    options: dict[str, Any],
) -> int:
    while True:
        try:
            question = await session.prompt_async("> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return 0
        if not question.strip():
            continue
        provider, model = await opening
        asked = [*messages, {"role": "user", "content": question}]
        text = await _answer(provider, model, asked, options)
        if text:
            messages = [*asked, {"role": "assistant", "content": text}]


async def _answer(
    provider: ChatProvider,
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
