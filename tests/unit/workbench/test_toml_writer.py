"""What is written reads the same."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from berlin.recipes.recipe import load_recipe, parse_recipe, recipe_names
from berlin.workbench.draft.toml_writer import recipe_tree, write_toml

values = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), inner, max_size=4)
    ),
    max_leaves=20,
)
tables = st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), values, max_size=6)


@given(tables)
def test_whatever_is_written_reads_the_same(tree: dict[str, Any]) -> None:
    """Odd keys, control characters, long lists and deep tables."""
    assert tomllib.loads(write_toml(tree)) == tree


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_reads_the_same(name: str) -> None:
    """A written recipe is the same recipe, though nothing of its file was used."""
    recipe = msgspec.structs.replace(load_recipe(name), extends="")
    assert parse_recipe(write_toml(recipe_tree(recipe)), f"{name}.toml") == recipe


def test_null_is_left_out() -> None:
    """TOML has no such value."""
    assert tomllib.loads(write_toml({"a": None, "b": {"c": [1, None], "d": None}})) == {
        "b": {"c": [1]}
    }


def test_notes_stand_behind_their_lines() -> None:
    """Also behind the head of a table and the first line of a long list."""
    long = ["x" * 60, "y" * 60]
    notes = {("chat",): "one", ("chat", "path"): "two", ("chat", "long"): "three"}
    text = write_toml({"chat": {"path": "/x", "long": long}}, notes)
    assert "[chat]  # one\n" in text
    assert 'path = "/x"  # two\n' in text
    assert "long = [  # three\n" in text
    assert tomllib.loads(text)["chat"]["long"] == long


def test_no_note_ends_its_line() -> None:
    """What was copied from a service may stand in a note."""
    text = write_toml({"a": {"b": 1}}, {("a", "b"): "x\ny = 2\x00", ("a",): "z\u2028"})
    assert tomllib.loads(text) == {"a": {"b": 1}}
