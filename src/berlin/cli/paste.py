"""Reads text pasted into a terminal, with lines of any length."""

from __future__ import annotations

import sys

import click
from prompt_toolkit import PromptSession

from berlin.cli.chat.line import enter_keys
from berlin.cli.terminal import say
from berlin.errors import ConfigurationError

END = "."


def ask_for_paste(what: str) -> str:
    """Return the pasted text, up to a line with only a dot. Raises ConfigurationError.

    A terminal in its usual mode cuts lines at 4,096 characters; browsers copy longer ones.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigurationError(f"{what}: there is no terminal to paste it on; give a file")
    say(f"{what}, then a line with only a dot:")
    keys = enter_keys(lambda text: text.rpartition("\n")[2].strip() != END)
    session: PromptSession[str] = PromptSession(multiline=True, key_bindings=keys)
    try:
        text = session.prompt("> ")
    except EOFError:
        raise click.Abort from None
    return text.rstrip().removesuffix(END)
