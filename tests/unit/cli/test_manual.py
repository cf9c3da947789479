"""The help of the commands, placed in a page."""

from __future__ import annotations

import re

from click.testing import CliRunner

from support.cli_help import with_help

ONE = "<!-- help: {} -->\n```text\nold\n```\n<!-- /help -->\n"
PAGE = (
    "# Title\n\n" + ONE.format("berlin") + "\nBy hand.\n\n" + ONE.format("logs gone") + "\nEnd.\n"
)


def test_blocks_are_renewed_added_and_removed() -> None:
    """Each command has one block, stale ones go, and the text between them is kept."""
    page = with_help(PAGE)
    names = re.findall(r"<!-- help: (.*) -->", page)
    assert names[:2] == ["berlin", "chat"]
    assert len(names) == len(set(names))
    assert {"recipe", "recipe try", "key add"} <= set(names)
    assert "old" not in page.split("```")
    assert "logs gone" not in page
    assert page.startswith("# Title\n")
    assert page.endswith("\nEnd.\n")
    assert with_help(page) == page


def test_a_command_that_was_used_alone_has_the_same_help() -> None:
    """The help does not depend on the contexts in which a command was used before."""
    from berlin.cli.provider.models import models

    page = with_help(PAGE)
    CliRunner().invoke(models, ["--help"])
    assert with_help(PAGE) == page


def test_a_help_text_is_80_columns_wide() -> None:
    """The blocks do not depend on the width of the terminal."""
    help_texts = re.findall(r"```text\n(.*?)\n```", with_help(PAGE), re.DOTALL)
    assert max(len(line) for text in help_texts for line in text.splitlines()) <= 80
