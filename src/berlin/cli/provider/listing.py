"""`berlin providers` and `berlin check`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import click
import msgspec

from berlin.cli.options import complete_provider, config_option, load_for_commands
from berlin.cli.terminal import align
from berlin.client import Berlin
from berlin.config import (
    GUIDE,
    Config,
    Settings,
    default_provider,
    find_provider,
    installed_providers,
    resolve_settings,
)
from berlin.errors import BerlinError, ConfigurationError
from berlin.opening import open_provider
from berlin.providers.facade import ChatProvider
from berlin.types import Timeouts

HEAD = ("PROVIDER", "URL", "ACCOUNT", "FROM", "WORKS")
CHECK_TIMEOUTS = Timeouts(connect=5, first_event=10, idle=10, total=20)


@click.command()
@click.option("--no-check", is_flag=True, help="List only; do not log in anywhere.")
@config_option
def providers(no_check: bool, config: Path | None) -> None:
    """List the providers: their URLs, where their credentials come from, whether they work.

    Each one is tested with a login. Secrets are never shown.
    """
    settings = load_for_commands(config)
    default = default_provider(settings)
    # Recipes without a provider are not listed here but by `berlin recipe list`.
    known = {*settings.providers, *installed_providers(), GUIDE}
    names = sorted(known | ({default} if default is not None else set()))
    rows = [HEAD, *asyncio.run(_rows(names, settings, check=not no_check))]
    for row, line in zip(rows, align(rows), strict=True):
        click.echo(("* " if row[0] == default else "  ") + line)


@click.command()
@click.argument("provider", required=False, shell_complete=complete_provider)
@config_option
def check(provider: str | None, config: Path | None) -> None:
    """Ask PROVIDER (default: the default provider) one short question, and report the result."""
    settings = load_for_commands(config)
    name = provider or default_provider(settings)
    if name is None:
        raise ConfigurationError(
            "there is no default provider: run `berlin add URL`, or name a provider"
        )
    click.echo(asyncio.run(_check(name, settings)))


async def _check(name: str, config: Config) -> str:
    began = time.monotonic()
    async with open_provider(name, config) as provider:
        async with aclosing(provider.text("Hello", timeout=CHECK_TIMEOUTS)) as pieces:
            await anext(pieces, "")
            first = time.monotonic() - began
            size = sum([len(piece) async for piece in pieces])
        whole = time.monotonic() - began
        model = getattr(provider, "default_model", "")
    by = f"; the model is {model}" if model else ""
    return (
        f"{name} works: first text after {first:.2f} s, {size} more characters by {whole:.2f} s{by}"
    )


async def _rows(names: list[str], config: Config, *, check: bool) -> list[tuple[str, ...]]:
    return list(await asyncio.gather(*(_row(name, config, check=check) for name in names)))


async def _row(name: str, config: Config, *, check: bool) -> tuple[str, ...]:
    try:
        mine = find_provider(name, config)
        if mine.class_ is not None:
            return await _row_of_class(name, mine.class_, config, check=check)
        settings = resolve_settings(name, config)
    except ConfigurationError as error:
        return (name, "-", "-", "-", f"no: {error.message}")
    who = settings.credentials
    account, source = (who.account or "-", who.source) if who else ("-", "nowhere")
    works = "not tried"
    if who is None:
        works = "no: no account and password"
    elif check:
        works = await _works(settings)
    return (name, settings.endpoint.url, account, source, works)


async def _row_of_class(name: str, path: str, config: Config, *, check: bool) -> tuple[str, ...]:
    source = "built in" if name == GUIDE and name not in config.providers else path
    works = await _answers(lambda: open_provider(name, config)) if check else "not tried"
    return (name, "-", "-", source, works)


async def _works(settings: Settings) -> str:
    flow = settings.recipe.auth.flow()
    if flow is None or not flow.asks:
        return f"not tested; run `berlin check {settings.name}`"
    quick = msgspec.structs.replace(settings, timeouts=CHECK_TIMEOUTS)
    if not flow.needs_person:
        # An earlier token would say nothing about the service now.
        quick = msgspec.structs.replace(quick, tokens=None)
    return await _answers(lambda: Berlin.from_settings(quick))


async def _answers(opened: Callable[[], ChatProvider]) -> str:
    try:
        async with opened() as provider:
            await provider.check()
    except BerlinError as error:
        return f"no: {error.message}"
    return "yes"
