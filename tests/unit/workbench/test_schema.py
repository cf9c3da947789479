"""The schema that editors use says what the parser does."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from berlin.recipes.recipe import recipe_names
from berlin.workbench.schema import recipe_schema
from support.program import load

SCHEMA = recipe_schema()
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}
MINIMAL: dict[str, Any] = {
    "schema": 1,
    "name": "x",
    "description": "x",
    "endpoint": {"url": "https://x.example"},
    "chat": {"path": "/ask", "json": {"q": "{prompt}"}, "stream": {"framing": "ndjson"}},
}


def mistakes(value: Any, schema: dict[str, Any], at: str = "") -> list[str]:
    """Return what a value has against a schema, with what draft 7 has of it."""
    found: list[str] = []
    if "$ref" in schema:
        return mistakes(value, SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]], at)
    for part in schema.get("allOf", []):
        found += mistakes(value, part, at)
    if "anyOf" in schema and all(mistakes(value, option, at) for option in schema["anyOf"]):
        found.append(f"{at}: none of the forms")
    if "if" in schema:
        branch = "else" if mistakes(value, schema["if"], at) else "then"
        found += mistakes(value, schema.get(branch, {}), at)
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is not one of {schema['enum']}")
    if "type" in schema and (
        not isinstance(value, TYPES[schema["type"]])
        or (isinstance(value, bool) and schema["type"] in ("integer", "number"))
    ):
        return [*found, f"{at}: {value!r} is no {schema['type']}"]
    if isinstance(value, dict):
        known = schema.get("properties", {})
        found += [f"{at}: no {name}" for name in schema.get("required", []) if name not in value]
        for name, member in value.items():
            more = schema.get("additionalProperties", True)
            if name in known:
                found += mistakes(member, known[name], f"{at}/{name}")
            elif more is False:
                found.append(f"{at}/{name} is not known")
            elif isinstance(more, dict):
                found += mistakes(member, more, f"{at}/{name}")
    if isinstance(value, list) and "items" in schema:
        for n, item in enumerate(value):
            found += mistakes(item, schema["items"], f"{at}/{n}")
    return found


def merged(**changes: Any) -> dict[str, Any]:
    return {**MINIMAL, **changes}


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_good(name: str) -> None:
    """No recipe that comes with Berlin has a mistake by the schema."""
    file = resources.files("berlin.recipes").joinpath("shipped", f"{name}.toml")
    assert mistakes(tomllib.loads(file.read_text("utf-8")), SCHEMA) == []


@pytest.mark.parametrize(
    "recipe",
    [
        {k: v for k, v in MINIMAL.items() if k != "endpoint"},
        merged(endpoint={"url": 7}),
        merged(chat={**MINIMAL["chat"], "methid": "GET"}),
        merged(chat={**MINIMAL["chat"], "method": "FETCH"}),
        merged(chat={**MINIMAL["chat"], "stream": {"framing": "smoke"}}),
        merged(auth={"flow": "magic"}),
        merged(auth={"flow": "login", "steps": [{"take": {"token": "/t"}}]}),
        merged(auth={"flow": "login", "grant": "password"}),
    ],
)
def test_mistakes_are_found(recipe: dict[str, Any]) -> None:
    """A missing, an unknown or a wrong member is a mistake."""
    assert mistakes(recipe, SCHEMA)


def test_a_recipe_that_extends_another_may_leave_out_the_rest() -> None:
    """With `extends` only what differs has to be there."""
    assert mistakes(MINIMAL, SCHEMA) == []
    assert mistakes({"extends": "berlin", "endpoint": {"proxy": "http://p"}}, SCHEMA) == []
    assert mistakes({"extends": "berlin", "endpoint": {"proksy": "http://p"}}, SCHEMA)


def test_every_member_has_a_meaning() -> None:
    """The schema says of each key what it is for."""
    for name, definition in SCHEMA["definitions"].items():
        for key, member in definition["properties"].items():
            assert key == "flow" or member.get("description"), f"{name}.{key}"


def test_no_member_of_another_dialect() -> None:
    """`null`, which TOML does not have, and words of OpenAPI are not in the schema."""
    text = repr(SCHEMA)
    assert "'null'" not in text
    assert "discriminator" not in text
    assert SCHEMA["$schema"].endswith("draft-07/schema#")


def test_the_reference_is_whole_and_current() -> None:
    """The page of reference has each key of each table, and is what the types say now."""
    page = load("packaging/recipes_reference.py").page()
    for definition in SCHEMA["definitions"].values():
        for key in definition["properties"]:
            assert f"| `{key}` |" in page
    assert not re.search(r"\| *\|\n", page), "a key without a meaning"
    file = Path(__file__).parents[3] / "docs" / "recipes-reference.md"
    assert file.read_text("utf-8") == page, "run `make reference`"
