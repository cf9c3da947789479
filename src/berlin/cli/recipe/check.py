"""`berlin recipe check`: what a recipe does, in words, before anything is sent."""

from __future__ import annotations

import click

from berlin.cli.recipe.file import RecipeFile
from berlin.cli.secret_warnings import warn_of_secrets
from berlin.cli.terminal import harmless
from berlin.errors import ConfigurationError
from berlin.types import mask
from berlin.workbench.diagnose import find_unused
from berlin.workbench.explain import explain


@click.command()
@click.argument("file")
@click.argument("prompt", default="Hello")
def check(file: str, prompt: str) -> None:
    """Explain what the recipe FILE makes Berlin send for PROMPT, and how it reads the answer.

    FILE is a path, or the name of a recipe that comes with Berlin. Nothing is sent. Each mistake is
    reported with its line, including keys that no request would use. What looks like a secret in
    the file causes a warning.
    """
    opened = RecipeFile.open(file)
    found = opened.secrets
    click.echo(harmless(mask(explain(opened.recipe, prompt), [secret.value for secret in found])))
    warn_of_secrets(opened.source, opened.path, found)
    mistakes = find_unused(opened.recipe)
    if mistakes:
        text = "; ".join(f"{opened.where(hint.place)}: {hint.why}" for hint in mistakes)
        raise ConfigurationError(text)
    click.echo(harmless(f"\n{opened.source}: no mistakes found; next: berlin recipe try {file}"))
