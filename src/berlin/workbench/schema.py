"""The recipe language as a JSON Schema for editors.

It is generated from the types that parse a recipe and from their docstrings, so it is accurate.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import msgspec

from berlin.recipes.recipe import Recipe

DIALECT = "http://json-schema.org/draft-07/schema#"

_ATTRIBUTE = re.compile(r"^(\w+): (.*)$")


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 7) of a recipe.

    A recipe with `extends` inherits what it leaves out, so only the names and types of its keys are
    checked.
    """
    (root,), components = msgspec.json.schema_components(
        [Recipe], ref_template="#/definitions/{name}"
    )
    kinds = {kind.__name__: kind for kind in tables()}
    definitions = {
        name: _definition(kinds[name], schema) for name, schema in sorted(components.items())
    }
    required = definitions["Recipe"].pop("required")
    return {
        "$schema": DIALECT,
        "title": "A recipe of Berlin",
        "allOf": [root, {"if": {"required": ["extends"]}, "else": {"required": required}}],
        "definitions": definitions,
    }


def _definition(kind: type[msgspec.Struct], schema: dict[str, Any]) -> dict[str, Any]:
    meanings = meanings_of(kind)
    properties = {}
    for name, member in schema["properties"].items():
        simple = _without_null(member)
        simple.pop("discriminator", None)  # an OpenAPI keyword
        # This draft ignores everything beside `$ref`.
        if "$ref" in simple:
            simple = {"allOf": [{"$ref": simple["$ref"]}]}
        properties[name] = {**simple, **_described(meanings.get(name, ""))}
    # Keys that another recipe sets may be left out, but list items are never merged.
    required = schema.get("required", []) if kind is Recipe or kind in _items() else []
    return {
        "type": "object",
        "description": description_of(kind),
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _without_null(member: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a member without `null`, which TOML does not have."""
    options = [option for option in member.get("anyOf", []) if option != {"type": "null"}]
    simple = {name: value for name, value in member.items() if name not in ("anyOf", "default")}
    if member.get("default") is not None and "$ref" not in member:
        simple["default"] = member["default"]
    if len(options) == 1:
        return {**simple, **options[0]}
    return {**simple, "anyOf": options} if options else simple


def _described(meaning: str) -> dict[str, str]:
    return {"description": meaning} if meaning else {}


def tables() -> list[type[msgspec.Struct]]:
    """Return the types of all tables, each once, in reading order."""
    found: list[type[msgspec.Struct]] = []

    def walk(kind: Any) -> None:
        match kind:
            case msgspec.inspect.StructType(cls=struct, fields=fields):
                if struct in found:
                    return
                found.append(struct)
                for field in fields:
                    walk(field.type)
            case msgspec.inspect.UnionType(types=types):
                for option in types:
                    walk(option)
            case msgspec.inspect.DictType(value_type=value):
                walk(value)
            case msgspec.inspect.ListType(item_type=item):
                walk(item)
            case _:
                pass

    walk(msgspec.inspect.type_info(Recipe))
    return found


def _items() -> set[type[msgspec.Struct]]:
    """Return the types of the tables that are items of a list."""
    fields = (field for kind in tables() for field in fields_of(kind))
    lists = (f.type for f in fields if isinstance(f.type, msgspec.inspect.ListType))
    items = (found.item_type for found in lists)
    return {item.cls for item in items if isinstance(item, msgspec.inspect.StructType)}


def fields_of(kind: type[msgspec.Struct]) -> tuple[msgspec.inspect.Field, ...]:
    """Return the members of a table."""
    info = msgspec.inspect.type_info(kind)
    return info.fields if isinstance(info, msgspec.inspect.StructType) else ()


def description_of(kind: type) -> str:
    """Return the part of a docstring before its attributes."""
    text = inspect.cleandoc(kind.__doc__ or "")
    return " ".join(text.split("\n\nAttributes:")[0].split())


def meanings_of(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Return the text on each attribute in the docstrings of a type and its bases."""
    meanings: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        _, found, section = inspect.cleandoc(vars(base).get("__doc__") or "").partition(
            "\nAttributes:\n"
        )
        name = ""
        for line in section.splitlines() if found else ():
            begun = _ATTRIBUTE.match(line.removeprefix("    "))
            if begun:
                name, meanings[begun[1]] = begun[1], begun[2]
            elif name and line.strip():
                meanings[name] += f" {line.strip()}"
    return {field.encode_name: meanings.get(field.encode_name, "") for field in fields_of(kind)}
