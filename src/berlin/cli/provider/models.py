"""`berlin models`: the models that can be named."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from berlin.cli.options import config_option, load_for_commands
from berlin.cli.terminal import harmless
from berlin.config import GUIDE, Config, default_provider, offer_of
from berlin.errors import BerlinError
from berlin.opening import open_provider


@click.command()
@click.argument("provider", required=False)
@click.option("--offline", is_flag=True, help="Ask no service; only what recipes and files say.")
@config_option
def models(provider: str | None, offline: bool, config: Path | None) -> None:
    """List the models of PROVIDER, or of all providers that are configured.

    Each line is a name for `-m`. A `*` marks the default model of a provider. Services are asked;
    one that cannot be is told on stderr, and what its recipe lists is shown.
    """
    settings = load_for_commands(config)
    default = default_provider(settings)
    names = [provider] if provider else list(settings.providers) or [default or GUIDE]
    failed = asyncio.run(_list(names, settings, offline=offline))
    if provider and failed is not None:
        raise failed


async def _list(names: list[str], config: Config, *, offline: bool) -> BerlinError | None:
    found = await asyncio.gather(*(_models(name, config, offline=offline) for name in names))
    failed = None
    for name, (listed, default, error) in zip(names, found, strict=True):
        for model in listed:
            mark = "  *" if model == default else ""
            click.echo(harmless(f"{name}:{model}{mark}"))
        if error is not None:
            failed = error
            if len(names) > 1:
                click.echo(harmless(f"berlin: {name}: {error.message}"), err=True)
        elif not listed:
            click.echo(f"berlin: {name} lists no models; name one as {name}:MODEL", err=True)
    return failed


async def _models(
    name: str, config: Config, *, offline: bool
) -> tuple[tuple[str, ...], str, BerlinError | None]:
    """Return the models of a provider, its default, and why it could not be asked."""
    offer = offer_of(name, config)
    if offline or not offer.any_model:
        return offer.models, offer.default, None
    try:
        async with open_provider(name, config) as opened:
            listed = await opened.models()
            return listed, offer.default or next(iter(listed), ""), None
    except BerlinError as error:
        return offer.models, offer.default, error
