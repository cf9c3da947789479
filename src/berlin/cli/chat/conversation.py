"""A conversation on a terminal, with line editing and a history of questions."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import click

from berlin.cli.chat.actions import Actions, End
from berlin.cli.chat.answer import Answer, Screen, show_answer
from berlin.cli.chat.line import open_line, strip_block
from berlin.cli.chat.opening import Load, Opened
from berlin.cli.chat.session import Session, ask_with
from berlin.cli.chat.slash import parse
from berlin.cli.options import as_typed
from berlin.cli.terminal import say, tell
from berlin.errors import BerlinError
from berlin.types.messages import Part

GREETING = "Ctrl-C stops an answer, Ctrl-D ends the conversation, /help lists the commands."


class Chat:
    """A conversation on a terminal.

    Args:
        session: the messages, and the settings of every answer.
        find: returns the loader of the provider for a model's name.
        names: names of models, for completion.
        attached: the attachments of the first question.
    """

    def __init__(
        self,
        session: Session,
        find: Callable[[str], Load],
        open_screen: Callable[[], Screen],
        names: list[str],
        attached: tuple[Part, ...] = (),
    ) -> None:
        self.session = session
        self._opened: Opened | None = None
        self._find = find
        self._open_screen = open_screen
        self._names = names
        self._attached = attached
        self._stack = AsyncExitStack()

    async def run(self, load: Load) -> int:
        """Ask and answer until Ctrl-D; an error ends an answer, not the conversation.

        The provider is loaded while the first question is being typed.

        Raises:
            BerlinError: if the provider cannot be opened.
        """
        line = open_line(self._names)
        say(GREETING)

        def give_up(opening: asyncio.Task[Any]) -> None:
            error = None if opening.cancelled() else opening.exception()
            if error is not None and line.app.is_running:
                line.app.exit(exception=error)

        async with self._stack:
            opening = asyncio.create_task(self._open(load))
            opening.add_done_callback(give_up)
            try:
                return await self._converse(line.prompt_async, opening)
            finally:
                opening.cancel()
                await asyncio.wait([opening])

    async def use(self, model: str) -> str:
        """Switch to another model, and return its name. Raises BerlinError."""
        return (await self._open(self._find(model))).label

    @property
    def label(self) -> str:
        """The current provider and model."""
        return self._opened.label if self._opened is not None else ""

    async def ask(self, text: str, opened: Opened) -> None:
        """Ask a question and show the answer; a failure is shown in one line."""
        provider, model, label = opened
        question = ask_with(text, self._attached)
        answer = Answer()
        try:
            request = self.session.request(question, model, provider.timeouts)
            await _stoppable(show_answer(provider, request, self._open_screen(), answer))
        except _Stopped:
            say("stopped")
        except BerlinError as error:
            tell(error.message)
        finally:
            self.session.took(question, answer, label)
        self._attached = ()

    async def _open(self, load: Load) -> Opened:
        opening = await asyncio.to_thread(load)
        self._opened = await self._stack.enter_async_context(opening)
        return self._opened

    async def _converse(self, prompt: Callable[..., Any], opening: asyncio.Task[Opened]) -> int:
        actions = Actions(self)
        begun = ""
        while True:
            try:
                typed: str = await prompt("> ", default=begun)
            except KeyboardInterrupt:
                continue
            except EOFError:
                return 0
            finally:
                begun = ""
            if not typed.strip():
                continue
            try:
                typed = as_typed(typed, "the question")
                command = parse(typed)
                if command is None:
                    first = await opening
                    await self.ask(strip_block(typed), self._opened or first)
                    continue
                if command.name == "/model":
                    await opening
                begun = await actions.run(command)
            except (ValueError, click.UsageError) as error:
                say(str(error))
            except End:
                return 0


class _Stopped(Exception):
    """The user pressed Ctrl-C."""


async def _stoppable(work: Any) -> None:
    """Run until the end or Ctrl-C. Raises _Stopped."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends the program there
        loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        ours = asyncio.current_task()
        if not task.cancelled() or (ours is not None and ours.cancelling()):
            raise
        raise _Stopped from None
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
