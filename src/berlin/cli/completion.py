"""`berlin completion`: shell completion of commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_HOW = {
    "bash": 'eval "$(berlin completion bash)"        # in ~/.bashrc',
    "zsh": 'eval "$(berlin completion zsh)"         # in ~/.zshrc, after compinit',
    "fish": "berlin completion fish | source         # in ~/.config/fish/config.fish",
}


@click.command(epilog="\b\n" + "\n".join(_HOW.values()))
@click.argument("shell", type=click.Choice(list(_HOW)))
def completion(shell: str) -> None:
    """Print the script that makes SHELL complete the commands of Berlin."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}")
    root = click.get_current_context().find_root().command
    script = kind(root, {}, "berlin", "_BERLIN_COMPLETE").source()
    click.echo(script)
