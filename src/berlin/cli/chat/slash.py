"""The commands that begin with a slash, inside a conversation."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document


class Known(NamedTuple):
    """A command, its arguments, and its description."""

    name: str
    argument: str
    help: str


COMMANDS = (
    Known("/help", "", "show this list"),
    Known("/model", "[NAME]", "who answers from now on: PROVIDER:MODEL; without NAME, tell"),
    Known("/system", "[TEXT]", "what the model is told first; without TEXT, tell; `-` removes it"),
    Known("/new", "", "begin a new conversation"),
    Known("/save", "FILE", "write the conversation to FILE: Markdown, or JSON if it ends in .json"),
    Known("/load", "FILE|ID", "go on with a saved .json file, or a conversation of `berlin logs`"),
    Known("/edit", "", "write the next question in your editor, beginning with the last one"),
    Known("/exit", "", "end; so does Ctrl-D"),
)
_NAMES = [command.name for command in COMMANDS]
_ALSO = {"/quit": "/exit", "/?": "/help", "/q": "/exit"}


class Typed(NamedTuple):
    """A line with a command: its full name and its arguments."""

    name: str
    argument: str


def parse(line: str) -> Typed | None:
    """Return the command in a line, or `None` if the line is a question.

    Raises:
        ValueError: if it starts with a slash and is not a command.
    """
    if not line.startswith("/"):
        return None
    word, _, argument = line.strip().partition(" ")
    name = _ALSO.get(word, word)
    if name not in _NAMES:
        near = difflib.get_close_matches(word, _NAMES, n=1)
        hint = f"did you mean {near[0]}?" if near else "/help lists them"
        raise ValueError(
            f"there is no command {word[:40]}; {hint} (a question may begin with a blank)"
        )
    return Typed(name, argument.strip())


def help_text() -> str:
    """Return the list of commands and keys."""
    rows = [(f"{c.name} {c.argument}".strip(), c.help) for c in COMMANDS]
    rows += [
        ('"""', "begin and end a question of several lines"),
        ("Alt-Enter", "a new line in the question"),
        ("Ctrl-C", "stop an answer; what came of it is kept"),
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
