"""`berlin config`: checks the configuration and shows where it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from berlin.cli.lazy import Group
from berlin.cli.options import config_option, load_for_commands
from berlin.cli.terminal import harmless
from berlin.config import Config, config_path, resolve_settings
from berlin.config.schema import ProviderConfig
from berlin.errors import ConfigurationError
from berlin.opening import RecipeProvider

if TYPE_CHECKING:
    from berlin.gateway.catalog import Catalog, Service


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
    from berlin.gateway.setup import build_catalog  # it loads the HTTP client

    settings = load_for_commands(config)
    catalog = build_catalog(settings)
    for name, mine in settings.providers.items():
        click.echo(harmless(f"{name}: {_summary(name, mine, catalog.services[name], settings)}"))
    _check_names(settings, catalog)
    _check_operation(settings)
    click.echo(f"{config or config_path()}: good")


def _summary(name: str, mine: ProviderConfig, service: Service, settings: Config) -> str:
    if mine.class_ is not None:
        return f"the class {mine.class_}"
    opened = service.bare
    if isinstance(opened, RecipeProvider):
        resolved = opened.settings
    else:
        resolved = resolve_settings(name, settings)
    who = resolved.credentials
    missing = "no credentials found" if who is None else f"credentials from: {who.source}"
    return f"{resolved.recipe.name} at {resolved.endpoint.url}; {missing}"


def _check_names(settings: Config, catalog: Catalog) -> None:
    """Check the names of providers and models that the file refers to."""
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
    from berlin.gateway.access.issuers.tokens import Issuers
    from berlin.ledger.open import url_of

    if settings.issuers:
        Issuers(settings.issuers)
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
