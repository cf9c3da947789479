"""A recipe for the commands: parsed, with its text, so that messages can name lines."""

from __future__ import annotations

from pathlib import Path

import msgspec

from berlin.config import resolve_recipe
from berlin.config.files import read_file
from berlin.language.secrets_scan import FoundSecret, find_secrets
from berlin.language.toml import find_line
from berlin.recipes.recipe import SHIPPED, Recipe


class RecipeFile(msgspec.Struct, frozen=True):
    """A recipe and its file.

    Attributes:
        source: the file's name, as it was given.
        path: the file; `None` for a recipe that comes with Berlin.
    """

    recipe: Recipe
    text: str
    source: str
    path: Path | None

    @classmethod
    def open(cls, file: str) -> RecipeFile:
        """Return the recipe in a file, or a shipped one by its name. Raises ConfigurationError."""
        recipe = resolve_recipe(file)
        if file.endswith(".toml"):
            path = Path(file)
            return cls(recipe, read_file(path), file, path)
        shipped = SHIPPED / f"{file}.toml"
        return cls(recipe, shipped.read_text("utf-8"), f"{file}.toml", None)

    @property
    def secrets(self) -> list[FoundSecret]:
        """The values in the file that look like secrets."""
        return find_secrets(self.text)

    def where(self, place: tuple[str, ...]) -> str:
        """Return file and line of a key, and its name."""
        name = ".".join(part for part in place if not part.isdecimal())
        return f"{self.source}, line {find_line(self.text, place)} ({name})"
