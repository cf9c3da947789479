"""`berlin recipe list`, `show` and `schema`: what comes with Berlin, to read and to start from."""

from __future__ import annotations

import json

import click

from berlin.cli.recipe.file import RecipeFile
from berlin.cli.terminal import align, json_line, print_exactly
from berlin.recipes.recipe import Recipe, load_recipe, recipe_names
from berlin.workbench.schema import recipe_schema

_WORDS = {"api_key": "key", "client_id": "client", "client_secret": "secret"}


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_recipes(as_json: bool) -> None:
    """List the recipes that come with Berlin, and the credentials that each needs.

    `berlin add NAME` sets one up; `berlin recipe show NAME` prints it.
    """
    recipes = [load_recipe(name) for name in recipe_names()]
    if as_json:
        for recipe in recipes:
            row = {"name": recipe.name, "description": recipe.description, "needs": recipe.needs}
            click.echo(json_line(row))
        return
    for line in align([(recipe.name, _login(recipe), recipe.description) for recipe in recipes]):
        click.echo(line)


@click.command()
@click.argument("name")
def show(name: str) -> None:
    """Print the recipe NAME, to read it or to start your own."""
    print_exactly(RecipeFile.open(name).text)


def _login(recipe: Recipe) -> str:
    flow = recipe.auth.flow()
    if flow is None:
        return "no login"
    needs = "browser" if flow.needs_person else ", ".join(_WORDS.get(n, n) for n in flow.needs)
    return f"{needs} (optional)" if recipe.login_is_optional else needs


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
