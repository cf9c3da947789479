"""The question of `berlin add` for the default model."""

from __future__ import annotations

import asyncio

import click

from berlin.cli.provider.signing_in import list_models
from berlin.cli.terminal import is_interactive, say, tell
from berlin.config import Settings
from berlin.errors import BerlinError
from berlin.types import nearest

SHOWN_MODELS = 30


def choose_model(settings: Settings) -> str:
    """Return the model that is asked by default; `""` leaves it to the recipe."""
    described = settings.recipe.models
    try:
        names = asyncio.run(list_models(settings))
    except BerlinError as error:
        tell(f"its models cannot be listed: {error.message}")
        names = described.list
    default = described.default if described.default in names else ""
    if not names or (len(names) == 1 and default):
        return ""
    if len(names) == 1 or not is_interactive():
        return default or names[0]
    shown = names[:SHOWN_MODELS]
    for n, name in enumerate(shown, 1):
        say(f"  {n:>2}  {name}")
    if len(names) > len(shown):
        say(f"      and {len(names) - len(shown)} more")
    while True:
        typed: str = click.prompt("Model (number or name)", default=default or names[0], err=True)
        if typed.isdecimal() and 0 < int(typed) <= len(shown):
            return shown[int(typed) - 1]
        if typed in names or _is_meant(typed, names):
            return typed


def _is_meant(typed: str, names: tuple[str, ...]) -> bool:
    """Ask whether a model that the service does not list is meant: services have more of them."""
    if typed.isdecimal() or " " in typed:
        say(f"There is no model {typed[:80]!r} in the list.")
        return False
    near = nearest(typed, names)
    hint = f"; did you mean {near}?" if near else "."
    say(f"{typed[:80]} is not in the list{hint}")
    return click.confirm(f"Use {typed[:80]} anyway?", default=False, err=True)
