"""Recipes that extend files of one's own, and leave out what they do not want."""

from __future__ import annotations

from pathlib import Path

import pytest

from berlin.config.recipes import resolve_recipe
from berlin.errors import ConfigurationError
from berlin.recipes.recipe import parse_recipe

HEAD = 'schema = 1\nname = "mine"\n'
BASE = (
    'schema = 1\nname = "base"\ndescription = "d"\nextends = "berlin"\n[chat.json]\nlang = "de"\n'
)


def test_a_file_beside_it(tmp_path: Path) -> None:
    """A recipe takes over what a file beside it says, also when that changes."""
    (tmp_path / "base.toml").write_text(BASE)
    mine = tmp_path / "mine.toml"
    mine.write_text(f'{HEAD}extends = "base.toml"\n[chat.json]\nmore = 1\n')
    recipe = resolve_recipe(str(mine))
    assert recipe.chat.json is not None
    assert (recipe.chat.json["lang"], recipe.chat.json["more"]) == ("de", 1)
    assert recipe.auth == resolve_recipe("berlin").auth
    (tmp_path / "base.toml").write_text(BASE.replace('"de"', '"fr"'))
    changed = resolve_recipe(str(mine))
    assert changed.chat.json is not None
    assert changed.chat.json["lang"] == "fr"


def test_what_is_removed() -> None:
    """Tables and keys of the base are left out by name."""
    text = f'{HEAD}extends = "berlin"\nremove = ["chat.json.options", "chat.options", "models"]\n'
    recipe = parse_recipe(text, "mine.toml")
    assert recipe.chat.json is not None
    assert "options" not in recipe.chat.json
    assert recipe.chat.options is None
    assert recipe.models.default == ""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('extends = "../base.toml"', "not the name of a file beside"),
        ('extends = "/etc/base.toml"', "not the name of a file beside"),
        ('extends = "a/base.toml"', "not the name of a file beside"),
        ('extends = "nobody.toml"', "cannot be read"),
        ('extends = "broken.toml"', "is not valid TOML"),
        ('extends = "loop.toml"', "extend each other"),
        ('extends = "berlin"\nremove = ["chat.nobody"]', "has no 'chat.nobody'"),
        ('extends = "berlin"\nremove = "chat"', "Expected `array`"),
    ],
)
def test_d09_what_cannot_be_extended(tmp_path: Path, more: str, said: str) -> None:
    """Files elsewhere, files that are none, loops and wrong names are mistakes with a line."""
    (tmp_path / "broken.toml").write_text("= [")
    (tmp_path / "loop.toml").write_text(f'{HEAD}extends = "loop.toml"\n')
    mine = tmp_path / "mine.toml"
    mine.write_text(f"{HEAD}{more}\n")
    with pytest.raises(ConfigurationError) as caught:
        resolve_recipe(str(mine))
    assert said in caught.value.message
