"""Finds a recipe: a shipped one by name, or the user's own in a file."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import msgspec

from berlin.auth.flows.command import CommandMap
from berlin.config.files import doubts, read_file
from berlin.errors import ConfigurationError
from berlin.recipes.recipe import Recipe, load_recipe, parse_recipe


def resolve_recipe(recipe: str) -> Recipe:
    """Return a shipped recipe by name, or the one in a file, given its `.toml` path.

    Raises:
        ConfigurationError: if there is none, or it is invalid.
    """
    if not recipe.endswith(".toml"):
        return load_recipe(recipe)
    path = Path(recipe)
    try:
        text = read_file(path)
        if _EXTENDS_A_FILE.search(text):  # may change independently of this file
            parsed = parse_recipe(text, recipe, lambda name: read_file(path.parent / name))
        else:
            parsed = _parse(recipe, text)
    except FileNotFoundError as error:
        raise ConfigurationError(f"the recipe {recipe} cannot be read: {error.strerror}") from error
    doubt = doubts(path)
    if doubt and isinstance(parsed.auth, CommandMap):
        raise ConfigurationError(f"the recipe {recipe} runs a program, and {doubt}; it is not used")
    # Files that it names are relative to it, not to the working directory.
    files = {
        name: str(path.parent / file)
        for name in ("ca_file", "client_cert", "client_key")
        if (file := getattr(parsed.endpoint, name)) is not None
    }
    if not files:
        return parsed
    endpoint = msgspec.structs.replace(parsed.endpoint, **files)
    return msgspec.structs.replace(parsed, endpoint=endpoint)


_EXTENDS_A_FILE = re.compile(r"""^\s*extends\s*=\s*["'][^"']*\.toml["']""", re.MULTILINE)


@lru_cache(maxsize=2_048)
def _parse(recipe: str, text: str) -> Recipe:
    """Parse a recipe once: a reload usually changes few of many recipes."""
    return parse_recipe(text, recipe)
