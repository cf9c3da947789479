"""The slash commands of a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from berlin.types import suggest


class SlashCommand(NamedTuple):
    """A command, its arguments, and its description."""

    name: str
    argument: str
    help: str


COMMANDS = (
    SlashCommand("/help", "", "show this list"),
    SlashCommand("/model", "[NAME]", "switch to PROVIDER:MODEL; without NAME, show it"),
    SlashCommand("/system", "[TEXT]", "set the system prompt; without TEXT, show it; - removes it"),
    SlashCommand("/new", "", "start a new conversation"),
    SlashCommand("/save", "FILE", "save the conversation: Markdown, or JSON if FILE ends in .json"),
    SlashCommand("/load", "FILE|ID", "continue a .json file, or a conversation from `berlin logs`"),
    SlashCommand("/edit", "", "write the next question in your editor, starting from the last one"),
    SlashCommand("/exit", "", "exit, like Ctrl-D"),
)
_NAMES = [command.name for command in COMMANDS]
_ALSO = {"/quit": "/exit", "/?": "/help", "/q": "/exit"}


class TypedCommand(NamedTuple):
    """A line with a command: its full name and its arguments."""

    name: str
    argument: str


def parse(line: str) -> TypedCommand | None:
    """Return the command in a line, or `None` if the line is a question.

    Raises:
        ValueError: if it starts with a slash but is not a command.
    """
    if not line.startswith("/"):
        return None
    word, _, argument = line.strip().partition(" ")
    name = _ALSO.get(word, word)
    if name not in _NAMES:
        hint = suggest(word, _NAMES, "/help lists them", "{}")
        raise ValueError(
            f"there is no command {word[:40]}; {hint} "
            "(to ask a question that begins with a slash, put a space before it)"
        )
    return TypedCommand(name, argument.strip())


def help_text() -> str:
    """Return the list of commands and keys."""
    rows = [(f"{c.name} {c.argument}".strip(), c.help) for c in COMMANDS]
    rows += [
        ('"""', "begin and end a question of several lines"),
        ("Alt-Enter", "a new line in the question"),
        ("Ctrl-C", "stop an answer; the text so far is kept"),
        ("Ctrl-D", "end the conversation"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name.ljust(width)}  {text}" for name, text in rows)


class SlashCompleter(Completer):
    """Completes commands, and the names of models after `/model`.

    Args:
        models: the names; more may be added during the conversation.
    """

    def __init__(self, models: list[str]) -> None:
        self._models = models

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        """Yield the completions at the cursor."""
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in text:
            return
        word, blank, rest = text.partition(" ")
        if not blank:
            for command in COMMANDS:
                if command.name.startswith(word):
                    yield Completion(command.name, -len(word), display_meta=command.help)
        elif word == "/model":
            yield from _matching(self._models, rest.lstrip())


def _matching(names: Iterable[str], begun: str) -> Iterator[Completion]:
    for name in names:
        if begun.lower() in name.lower():
            yield Completion(name, -len(begun))
