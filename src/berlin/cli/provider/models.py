"""`berlin models`: the models that can be named."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from berlin.cli.options import complete_provider, config_option, load_for_commands
from berlin.cli.terminal import one_line, tell
from berlin.config import GUIDE, Config, default_provider, offer_of
from berlin.errors import BerlinError
from berlin.opening import open_provider

CHECK_S = 10.0


@click.command()
@click.argument("provider", required=False, shell_complete=complete_provider)
@click.option("--offline", is_flag=True, help="Ask no service; list what recipes and files say.")
@config_option
def models(provider: str | None, offline: bool, config: Path | None) -> None:
    """List the models of PROVIDER, or of all configured providers.

    Each line is a name for `-m`. A `*` marks the default model of a provider. If a service cannot
    be asked, stderr says why, and the models in its recipe are listed. A model that combines
    several providers is listed with them, and with those that do not work.
    """
    settings = load_for_commands(config)
    if provider in settings.models:
        asyncio.run(_list_routed([provider], settings, offline=offline))
        return
    default = default_provider(settings)
    names = [provider] if provider else list(settings.providers) or [default or GUIDE]
    failed = asyncio.run(_list(names, settings, offline=offline))
    if provider is None and settings.models:
        asyncio.run(_list_routed(list(settings.models), settings, offline=offline))
    if provider and failed is not None:
        raise failed


async def _list(names: list[str], config: Config, *, offline: bool) -> BerlinError | None:
    found = await asyncio.gather(*(_models(name, config, offline=offline) for name in names))
    failed = None
    for name, (listed, default, error) in zip(names, found, strict=True):
        for model in listed:
            mark = "  *" if model == default else ""
            click.echo(one_line(f"{name}:{model}{mark}"))
        if error is not None:
            failed = error
            if len(names) > 1:
                tell(f"{name}: {error.message}")
        elif not listed:
            tell(f"{name} lists no models; name one as {name}:MODEL")
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


async def _list_routed(names: list[str], config: Config, *, offline: bool) -> None:
    """List models that combine several providers: each with those, and whether they work."""
    from berlin.config.models.checks import find_route

    entries = {name: config.models[name].entries for name in names}
    providers = {find_route(entry, config).provider for each in entries.values() for entry in each}
    checked = sorted(providers - {""}) if not offline else []
    found = await asyncio.gather(*(_check(provider, config) for provider in checked))
    wrong = dict(zip(checked, found, strict=True))
    for name in names:
        made_of = []
        for entry in entries[name]:
            why = wrong.get(find_route(entry, config).provider)
            made_of.append(f"{entry.model} ({why})" if why else entry.model)
        click.echo(one_line(f"{name}  {config.models[name].kind}: {', '.join(made_of)}"))


async def _check(name: str, config: Config) -> str:
    """Return why a login to a provider fails; `""` if it works."""
    try:
        async with open_provider(name, config) as opened:
            async with asyncio.timeout(CHECK_S):
                await opened.check()
    except TimeoutError:
        return f"does not work: no answer in {CHECK_S:g} s"
    except BerlinError as error:
        return f"does not work: {error.message}"
    return ""
