"""`berlin completion`: real shells complete commands, options and the names of providers."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from support.cli import Cli

CONFIG = '[providers.workplace]\nrecipe = "openai"\n'

# What a person has typed, and what the shell makes of it.
COMPLETED = {
    "berlin comp": "completion",
    "berlin token wo": "workplace",
    "berlin chat --ra": "--raw",
}


def cli_of(folder: Path) -> Cli:
    """Return a user who has one provider, and `berlin` on the PATH."""
    cli = Cli(folder).configure(CONFIG)
    programs = cli.home / "bin"
    programs.mkdir()
    program = programs / "berlin"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m berlin "$@"\n')
    program.chmod(0o755)
    cli.environ["PATH"] = f"{programs}:{os.environ['PATH']}"
    return cli


async def test_bash(tmp_path: Path) -> None:
    """Bash calls the function that the script defines, with the words so far."""
    lines = ['eval "$(berlin completion bash)"']
    for typed in COMPLETED:
        words = shlex.split(typed)
        lines.append(f"COMP_WORDS=({typed}) COMP_CWORD={len(words) - 1} COMPREPLY=()")
        lines.append('_berlin_completion berlin; echo "${COMPREPLY[*]}"')
    script = tmp_path / "complete.sh"
    script.write_text("\n".join(lines))
    ended = await cli_of(tmp_path).shell(f"bash --norc {script}")
    assert ended.err == ""
    found = [line.split(" ")[0] for line in ended.out.splitlines()]
    assert found == list(COMPLETED.values())


async def test_fish(tmp_path: Path) -> None:
    """Fish is asked for what it would complete, with its own command for that."""
    lines = ["berlin completion fish | source"]
    lines += [f"complete -C {shlex.quote(typed)} | head -1" for typed in COMPLETED]
    script = tmp_path / "complete.fish"
    script.write_text("\n".join(lines))
    ended = await cli_of(tmp_path).shell(f"fish --no-config {script}")
    found = [line.split("\t")[0] for line in ended.out.splitlines()]
    assert found == list(COMPLETED.values())


async def test_zsh(tmp_path: Path) -> None:
    """In zsh a person presses Tab, and the word is completed on the line."""
    cli = cli_of(tmp_path)
    start = (
        'autoload -Uz compinit; compinit -u -D; eval "$(berlin completion zsh)"; PS1="re""ady> "'
    )
    zsh = shutil.which("zsh")
    assert zsh is not None
    async with cli.terminal("-f", "-i", command=(zsh,), PS1="") as terminal:
        terminal.types(f"{start}\n")
        await terminal.sees("ready> ")
        for typed, completed in COMPLETED.items():
            begun = typed.rpartition(" ")[2]
            terminal.types(f"{typed}\t")
            # The shell shows what was typed, and then the rest of the word.
            await terminal.sees(completed[len(begun) :])
            terminal.types("\x15")  # Ctrl-U clears the line
        terminal.types("exit\n")
        assert await terminal.ends() == 0
