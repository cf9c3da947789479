"""Options that several commands share, and the configuration as the command line sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:
    from berlin.config import Config

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file to use instead of the user's.",
)


def load_for_commands(path: Path | None) -> Config:
    """Return the configuration, with tokens kept in a file unless it says otherwise.

    Each command is a process of its own: without a file each would log in anew.
    """
    from berlin.cli.secret_warnings import warn_of_config
    from berlin.config import config_path, load_config

    config = load_config(path)
    warn_of_config(path or config_path())
    if config.tokens.store is not None:
        return config
    tokens = msgspec.structs.replace(config.tokens, store="file")
    return msgspec.structs.replace(config, tokens=tokens)
