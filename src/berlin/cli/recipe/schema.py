"""`berlin recipe schema`: lets editors complete and check a recipe."""

from __future__ import annotations

import json

import click

from berlin.workbench.schema import recipe_schema


@click.command()
def schema() -> None:
    """Print the JSON Schema of the recipe language.

    \b
      berlin recipe schema > recipe.schema.json

    An editor with TOML support then completes and checks a recipe whose first line is

    \b
      #:schema ./recipe.schema.json
    """
    click.echo(json.dumps(recipe_schema(), indent=2, ensure_ascii=False))
