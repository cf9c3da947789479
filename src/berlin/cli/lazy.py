"""Groups of commands: they suggest the nearest name, and may import modules on use."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem


class Group(click.Group):
    """A group that suggests the nearest command for a mistyped one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name."""
        typed = args[0]
        if self.get_command(ctx, typed) is None and not typed.startswith("-"):
            from berlin.types import nearest  # only needed for errors

            near = nearest(typed, self.list_commands(ctx))
            hint = f"; did you mean `{ctx.command_path} {near}`?" if near else ""
            ctx.fail(f"there is no command {typed[:40]!r}{hint}")
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """A group that shows `--help` without importing any command.

    Args:
        lazy: for each name the module below `berlin.cli`, the command in it, and one line of help.
    """

    def __init__(self, *, lazy: Mapping[str, tuple[str, str, str]], **attributes: Any) -> None:
        super().__init__(**attributes)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they are given."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        if cmd_name not in self._lazy:
            return None
        module, name, _ = self._lazy[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"berlin.cli.{module}"), name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the names that a shell may complete, without loading any command."""
        items = [
            CompletionItem(name, help=text)
            for name, (_, _, text) in self._lazy.items()
            if name.startswith(incomplete)
        ]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands into the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in self._lazy.items()])
