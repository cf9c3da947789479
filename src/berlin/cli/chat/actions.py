"""The actions of slash commands."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from berlin.cli.chat.history import Conversation, History
from berlin.cli.chat.slash import TypedCommand, help_text
from berlin.cli.input_file import read_input, why
from berlin.cli.terminal import say, tell
from berlin.config import data_path
from berlin.errors import BerlinError, InvalidRequestError
from berlin.types import Message
from berlin.types.messages import parse_messages

if TYPE_CHECKING:
    from berlin.cli.chat.conversation import Chat


class End(Exception):
    """The conversation is over."""


def history() -> History:
    """Return the store of conversations."""
    return History(data_path("conversations.sqlite"))


def recall(wanted: str) -> tuple[Conversation, list[Message]]:
    """Return a stored conversation; `""` for the last one. Raises ConfigurationError."""
    kept = history()
    conversation = kept.find(wanted)
    return conversation, [entry.message for entry in kept.entries(conversation.id)]


class Actions:
    """Runs slash commands."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    async def run(self, command: TypedCommand) -> str:
        """Run a command; return the initial text of the next question."""
        try:
            match command.name:
                case "/help":
                    say(help_text())
                case "/model":
                    await self._model(command.argument)
                case "/system":
                    self._system(command.argument)
                case "/new":
                    self._chat.session.restart()
                    say("A new conversation.")
                case "/save":
                    self._save(command.argument)
                case "/load":
                    self._load(command.argument)
                case "/edit":
                    return await self._edit()
                case "/exit":
                    raise End
        except BerlinError as error:
            tell(error.message)
        return ""

    async def _model(self, name: str) -> None:
        label = await self._chat.use(name) if name else self._chat.label
        say(f"{label} answers.")

    def _system(self, text: str) -> None:
        session = self._chat.session
        if text:
            session.system = "" if text == "-" else text
        say(f"System: {session.system}" if session.system else "There is no system prompt.")

    def _save(self, name: str) -> None:
        if not name:
            say("/save needs a file name")
            return
        messages = self._chat.session.messages
        path = Path(os.path.expanduser(name))
        if path.suffix == ".json":
            plain = [{"role": m.role, "content": m.text} for m in messages]
            text = json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
        else:
            text = "\n".join(f"## {m.role.capitalize()}\n\n{m.text}\n" for m in messages)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            say(f"{path} already exists; choose another name")
        except OSError as error:
            say(f"{path} cannot be written: {error.strerror or error}")
        else:
            say(f"Saved to {path}.")

    def _load(self, name: str) -> None:
        if not name:
            say("/load needs a .json file, or an id from `berlin logs`")
            return
        session = self._chat.session
        if name.endswith(".json"):
            session.replace(_read_messages(Path(os.path.expanduser(name))))
        else:
            session.resume(*recall(name))
        say(f"{len(session.messages)} messages.")

    async def _edit(self) -> str:
        begun = self._chat.session.last_question
        # Ctrl-C belongs to the editor. (A handler, since an ignored signal is ignored by it too.)
        before = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            text = await asyncio.to_thread(click.edit, begun)
        except click.ClickException as error:
            say(error.format_message())
            return ""
        finally:
            signal.signal(signal.SIGINT, before)
        return (text or "").strip("\n")


def _read_messages(path: Path) -> tuple[Message, ...]:
    try:
        return parse_messages(json.loads(read_input(path).decode("utf-8-sig")))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{path} cannot be read as messages: {why(error)}") from error
