"""What a recipe says about tools and conversations."""

from __future__ import annotations

import pytest

from berlin.errors import ConfigurationError
from berlin.recipes.recipe import load_recipe, parse_recipe

DESCRIBED = """
schema = 1
name = "work"
description = "A chat"
{more}
[endpoint]
url = "https://chat.example.com"

[chat]
path = "/chat"
json = {{ q = "{{prompt}}" }}

[chat.stream]
framing = "ndjson"
text = "/t"
{tables}
"""


def _recipe(more: str = "", tables: str = ""):
    return parse_recipe(DESCRIBED.format(more=more, tables=tables), "work.toml")


def test_described_services_get_tools_in_the_prompt() -> None:
    """Unless it says otherwise, a described service emulates tools, and a known format does not."""
    assert _recipe().tools_mode == "emulate"
    assert set(_recipe().abilities) == {"tools", "json"}
    assert load_recipe("openai").tools_mode == "native"
    assert _recipe('tools = "ignore"').tools_mode == "ignore"
    assert _recipe('tools = "ignore"').abilities == ()


def test_conversations_are_kept_only_where_the_recipe_says_so() -> None:
    """Without the table each request brings its whole history."""
    assert _recipe().conversations is None
    kept = _recipe(tables="[conversations]").conversations
    assert kept is not None
    assert (kept.id, kept.branches) == ("service", False)


@pytest.mark.parametrize(
    ("more", "tables", "says"),
    [
        ('tools = "emulat"', "", "line 5"),
        ("", '[tool_prompt]\nfence = "{name}"', "something besides it"),
        ("", '[tool_prompt]\nfence = "{name}!"', "end with"),
        ("", '[tool_prompt]\ninstructions = "{tool}"', "not a valid template"),
        ("", '[tool_prompt]\ninstructions = ""', "must not be empty"),
        ("", '[tool_prompt]\nclaims = ["("]', "not a regular expression"),
        ("", "[tool_prompt]\nmax_chars = -1", "must not be negative"),
        ("", '[tool_prompt]\nreminders = "x"', "reminders"),
        ("", '[conversations]\nid = "both"', "line 17"),
    ],
)
def test_mistakes_are_named(more: str, tables: str, says: str) -> None:
    """A mistake is an error with the place, and nothing is guessed."""
    with pytest.raises(ConfigurationError, match=r"work\.toml") as error:
        _recipe(more, tables)
    assert says in str(error.value)
