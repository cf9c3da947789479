"""`berlin config`: checks the configuration and shows where it is."""

from __future__ import annotations

import os
from pathlib import Path

import click

from berlin.cli.lazy import Group
from berlin.cli.options import config_option, load_for_commands
from berlin.cli.terminal import harmless
from berlin.config import Config, config_path, find_provider, resolve_settings
from berlin.errors import ConfigurationError
from berlin.opening import open_provider


@click.group(cls=Group)
def config() -> None:
    """Check the configuration, or show where it is."""


@config.command()
def path() -> None:
    """Print the path of the configuration file, whether or not it exists."""
    click.echo(config_path())


@config.command()
@config_option
def check(config: Path | None) -> None:
    """Read the configuration as `berlin serve` would, and summarise it.

    Recipes, environment variables and aliases are checked too. Nothing is sent to any service.
    """
    settings = load_for_commands(config)
    for name in settings.providers:
        mine = find_provider(name, settings)
        if mine.class_ is not None:
            open_provider(name, settings)
            click.echo(f"{name}: the class {mine.class_}")
            continue
        resolved = resolve_settings(name, settings)
        who = resolved.credentials
        missing = "no credentials found" if who is None else f"credentials from: {who.source}"
        line = f"{name}: {resolved.recipe.name} at {resolved.endpoint.url}; {missing}"
        click.echo(harmless(line))
    _check_gateway(settings)
    _check_operation(settings)
    click.echo(f"{config or config_path()}: good")


def _check_gateway(settings: Config) -> None:
    from berlin.gateway.setup import build_catalog  # it loads the HTTP client

    catalog = build_catalog(settings)
    known = catalog.services
    wanted = settings.server.provider
    if wanted is not None and wanted not in known:
        raise ConfigurationError(f"[server] provider = {wanted!r} is not a provider")
    for alias, meant in settings.aliases.items():
        click.echo(harmless(f"{alias}: means {meant}"))
    names = {name.casefold() for name in known}
    for limited in settings.limits.models:
        if limited.partition(":")[0].casefold() not in names:
            said = f"warning: limits.models: nothing is named {limited!r}, so it limits nothing"
            click.echo(harmless(said), err=True)


def _check_operation(settings: Config) -> None:
    """Check where keys, limits and the ledger are, and the issuers."""
    from berlin.config.models.shared import open_shared
    from berlin.config.references import resolve_value
    from berlin.gateway.access.issuers.tokens import open_issuers
    from berlin.ledger.open import url_of

    open_issuers(settings.issuers)
    open_shared(settings.shared, os.environ)
    keys = resolve_value(settings.keys.store, "keys.store", os.environ)
    if keys is not None and not keys.startswith(("postgresql://", "postgres://")):
        raise ConfigurationError("[keys] store is not the URL of a PostgreSQL: postgresql://…")
    if settings.ledger is not None:
        url = url_of(settings.ledger, os.environ).reveal()
        kind = url.partition("://")[0].partition("+")[0]  # without the name of a driver
        if kind not in ("postgresql", "postgres", "sqlite"):
            raise ConfigurationError(
                "ledger.url is not the URL of a database; expected "
                "postgresql://user:password@host/database or sqlite:////path/of/a/file"
            )
