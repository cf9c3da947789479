"""Secrets that stand in the clear in a file are found, and ordinary values are not."""

from __future__ import annotations

from importlib import resources

import pytest

from berlin.language.secrets_scan import find_secrets, looks_secret
from berlin.language.toml import TomlLines
from berlin.recipes.recipe import recipe_names

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjMifQ.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('json = { password = "hunter2" }', "hunter2"),
        ('json = { apiKey = "abc" }', "abc"),
        ('headers = { Authorization = "Bearer abcdefghijkl" }', "abcdefghijkl"),
        ('headers = { X-Key = "sk-abcdefghijklmnop" }', "sk-abcdefghijklmnop"),
        (f'headers = {{ X-User = "{JWT}" }}', JWT),
        ('url = "https://ann:pw@example.com"', "ann:pw"),
        ('headers = { X-App = "9f8d7s6a5f4g3h2j1k0l" }', "9f8d7s6a5f4g3h2j1k0l"),
        ("# curl -H 'Authorization: Bearer abcdefghijkl'", "abcdefghijkl"),
        ('password = "letmein"', "letmein"),
    ],
)
def test_d05_a_secret_in_a_file_is_found(line: str, value: str) -> None:
    """A literal secret is found with its line and its value."""
    (found,) = find_secrets(f"schema = 1\n\n{line}\n")
    assert (found.line, found.value.reveal()) == (3, value)
    assert value not in repr(found)


@pytest.mark.parametrize(
    "line",
    [
        'json = { password = "{password}", user = "{account}" }',
        'headers = { Authorization = "Bearer {api_key}" }',
        'take = { token = "/data/token", refresh_token = "/data/refresh" }',
        'attach = { header = "token", prefix = "Bearer " }',
        'json = { model = "claude-3-5-sonnet-20241022" }',
        'json = { app = "68fe4838-8e70-4eaf-b1da-b199d7451364" }',
        'json = { note = "a sentence with 12 words and 34567 digits in it, quite long" }',
        'path = "/api/v1/conversations/completions2024abcdef0123456789"',
        'password = { env = "WORK_PASSWORD" }',
    ],
)
def test_what_is_no_secret_is_not_told(line: str) -> None:
    """Placeholders, pointers, names of models and ids are no secrets."""
    assert find_secrets(line) == []


@pytest.mark.parametrize("name", recipe_names())
def test_no_shipped_recipe_holds_a_secret(name: str) -> None:
    """The recipes that come with Berlin hold nothing that looks like a secret."""
    file = resources.files("berlin.recipes").joinpath("shipped", f"{name}.toml")
    assert find_secrets(file.read_text("utf-8")) == []


def test_broken_toml_is_searched_too() -> None:
    """A file that is no TOML may hold a key all the same."""
    (found,) = find_secrets("= [\nkey: sk-abcdefghijklmnop\n")
    assert found.line == 2


def test_the_key_of_the_token_store_is_a_secret() -> None:
    """`key` is a secret in `[tokens]`, and a harmless name elsewhere."""
    (found,) = find_secrets('[chat.json]\nkey = "short"\n[tokens]\nkey = "short"\n')
    assert (found.line, found.key) == (4, "tokens.key")


def test_members_of_answers() -> None:
    """A token in an answer is known by its name, or by what it looks like."""
    assert looks_secret("id_token", "x")
    assert looks_secret("whatever", JWT)
    assert looks_secret("k", "0a1b2c3d4e5f6a7b8c9d0e1f")
    assert not looks_secret("message", "wrong password for this account")
    assert not looks_secret("expires_in", 3600)


def test_the_lines_of_keys() -> None:
    """One reading of a text finds the line of each key, also in items, inline and dotted."""
    text = """
top = 1
[a]
x = 1
b.c = 2
[[a.items]]
n = 1
[[a.items]]
n = 2
[a.deep.er]
z = { in = 3 }
"""
    lines = TomlLines(text)
    places: dict[tuple[str, ...], int] = {
        ("top",): 2,
        ("a",): 3,
        ("a", "x"): 4,
        ("a", "b", "c"): 5,
        ("a", "items", "0", "n"): 7,
        ("a", "items", "1", "n"): 9,
        ("a", "deep"): 3,
        ("a", "deep", "er", "z", "in"): 11,
        ("missing",): 1,
    }
    assert {place: lines.find(place) for place in places} == places
