"""`berlin recipe`: write, check and try the description of a service."""

from __future__ import annotations

import click

from berlin.cli.lazy import LazyGroup

COMMANDS = {
    "list": ("recipe.catalog", "list_recipes", "List the recipes that come with Berlin."),
    "show": ("recipe.catalog", "show", "Print a recipe."),
    "new": ("recipe.new", "new", "Draft a recipe from a recorded request."),
    "check": ("recipe.check", "check", "Explain a recipe and find mistakes."),
    "try": ("recipe.trial", "try_recipe", "Send a prompt and show every step."),
    "serve": ("recipe.serve", "serve", "Run a fake of the service."),
    "record": ("recipe.trial", "record", "Record a trial, without secrets."),
    "replay": ("recipe.replay", "replay", "Replay a recording, without network."),
    "schema": ("recipe.catalog", "schema", "Print the JSON Schema of recipes."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def recipe() -> None:
    """Write, check and try recipes: the descriptions of services.

    A recipe is a TOML file. FILE is its path, or the name of a recipe that comes with Berlin.
    """
