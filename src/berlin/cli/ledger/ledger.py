"""`berlin ledger`: the database of the ledger."""

from __future__ import annotations

import os
from pathlib import Path

import click

from berlin.cli.lazy import Group
from berlin.cli.options import config_option


@click.group(cls=Group)
def ledger() -> None:
    """Manage the ledger, in which `berlin serve` stores a row for each request.

    The table `[ledger]` of the configuration says where it is.
    """


@ledger.command()
@config_option
def upgrade(config: Path | None) -> None:
    """Create the ledger's tables, or bring them to this release.

    `berlin serve` does not start while this is due. Upgrade before you start the new
    release: the old one can keep writing. Running it again changes nothing.
    """
    from berlin.config import LedgerConfig, load_config
    from berlin.ledger.open import upgrade_ledger

    before, after = upgrade_ledger(load_config(config).ledger or LedgerConfig(), os.environ)
    if before == after:
        click.echo(f"The ledger is up to date (revision {after}).")
    else:
        click.echo(f"The ledger is upgraded from revision {before or 'none'} to {after}.")
