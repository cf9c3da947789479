"""The input line for questions, with several lines, completion and history."""

from __future__ import annotations

from collections.abc import Callable

from prompt_toolkit import PromptSession
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from berlin.auth.tokens.private_file import make_private_file
from berlin.cli.chat.slash import SlashCompleter
from berlin.config import data_path

BLOCK = '"""'


def open_line(names: list[str]) -> PromptSession[str]:
    """Return the prompt session: Enter sends, Alt-Enter and an open block continue."""
    keys = enter_keys(is_open)

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return PromptSession(
        history=_open_history(),
        completer=SlashCompleter(names),
        multiline=True,
        key_bindings=keys,
        prompt_continuation=lambda width, number, wrapped: "  ",
        reserve_space_for_menu=4,
        enable_suspend=True,
    )


def enter_keys(is_incomplete: Callable[[str], bool]) -> KeyBindings:
    """Return key bindings in which Enter starts a new line while the text is incomplete."""
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_incomplete(buffer.text):
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    return keys


def is_open(text: str) -> bool:
    """Return whether a multi-line block was opened and not closed."""
    begun = text.lstrip()
    return begun.startswith(BLOCK) and not begun.rstrip().endswith(BLOCK, len(BLOCK))


def strip_block(text: str) -> str:
    """Return a question without the marks of a block."""
    inner = text.strip()
    if inner.startswith(BLOCK) and inner.endswith(BLOCK) and len(inner) >= 2 * len(BLOCK):
        return inner.removeprefix(BLOCK).removesuffix(BLOCK).strip("\n")
    return text


def _open_history() -> History:
    path = data_path("history")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_private_file(path)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))
