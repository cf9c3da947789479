"""The help of every command, as blocks of the page docs/cli.md.

The text between the blocks is written by hand.

    python -m support.cli_help docs/cli.md
"""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from berlin.cli.main import cli

_BLOCK = re.compile(r"<!-- help: ([a-z ]+) -->\n.*?<!-- /help -->\n", re.DOTALL)
_COLUMNS = 78  # what click uses on a terminal of 80


def with_help(page: str) -> str:
    """Return a page with the present help in its blocks.

    A command without a block gets one behind its predecessor's; the block of a command that no
    longer exists is removed.
    """
    pages = {context.command_path: _help(context) for context in _contexts(cli, None)}
    missing = pages.keys() - {f"berlin {name}" for name in _BLOCK.findall(page)} - {"berlin"}
    behind: dict[str, str] = {}
    before = "berlin"
    for path, text in pages.items():
        if path in missing:
            behind[before] = behind.get(before, "") + "\n" + text
        else:
            before = path

    def replacement(block: re.Match[str]) -> str:
        path = "berlin" if block[1] == "berlin" else f"berlin {block[1]}"
        return pages.get(path, "") + behind.get(path, "")

    return _BLOCK.sub(replacement, page)


def _contexts(command: click.Command, parent: click.Context | None) -> Iterator[click.Context]:
    name = "berlin" if parent is None else command.name
    settings = command.context_settings
    # A command keeps the help option of its first context, which may have had other settings.
    command = copy.copy(command)
    command._help_option = None
    context = click.Context(command, parent, name, terminal_width=_COLUMNS, **settings)
    yield context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            if found := command.get_command(context, below):
                yield from _contexts(found, context)


def _help(context: click.Context) -> str:
    name = context.command_path.removeprefix("berlin ")
    text = context.command.get_help(context).rstrip()
    return f"<!-- help: {name} -->\n```text\n{text}\n```\n<!-- /help -->\n"


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_help(file.read_text("utf-8")), "utf-8")
