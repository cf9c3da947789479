"""The recipe language as a JSON Schema for editors, and as a page of reference.

Both are generated from the types that parse a recipe and from their docstrings, so they are
accurate.

    python -m berlin.workbench.schema > docs/recipes-reference.md
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
    kinds = {kind.__name__: kind for kind in _structs()}
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


def reference_markdown() -> str:
    """Return the page about all tables and keys of a recipe."""
    parts = [
        "# All tables and keys of a recipe\n\n"
        "This page is made from the types that read a recipe "
        "(`python -m berlin.workbench.schema`); how to write one is in "
        "[recipes.md](recipes.md). A *pointer* is a JSON Pointer (RFC 6901): `/data/token`. Keys "
        "without a default must be there; an unknown key is an error.\n"
    ]
    parts += [f"## {_heading(k)}\n\n{_head(k)}\n\n{_table(k)}\n" for k in _structs()]
    return "\n".join(parts)


def _definition(kind: type[msgspec.Struct], schema: dict[str, Any]) -> dict[str, Any]:
    meanings = _meanings(kind)
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
        "description": _head(kind),
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


def _structs() -> list[type[msgspec.Struct]]:
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
    fields = (field for kind in _structs() for field in _fields(kind))
    lists = (f.type for f in fields if isinstance(f.type, msgspec.inspect.ListType))
    items = (found.item_type for found in lists)
    return {item.cls for item in items if isinstance(item, msgspec.inspect.StructType)}


def _fields(kind: type[msgspec.Struct]) -> tuple[msgspec.inspect.Field, ...]:
    info = msgspec.inspect.type_info(kind)
    return info.fields if isinstance(info, msgspec.inspect.StructType) else ()


def _head(kind: type) -> str:
    """Return the part of a docstring before its attributes."""
    text = inspect.cleandoc(kind.__doc__ or "")
    return " ".join(text.split("\n\nAttributes:")[0].split())


def _meanings(kind: type[msgspec.Struct]) -> dict[str, str]:
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
    return {field.encode_name: meanings.get(field.encode_name, "") for field in _fields(kind)}


def _heading(kind: type[msgspec.Struct]) -> str:
    """Return the name of a table for a heading."""
    config = kind.__struct_config__
    if config.tag is not None:
        return f"[auth] with flow = {config.tag}"
    names = re.findall(r"`(\[+[\w.]+\]+)`", _head(kind))
    return " and ".join(names) or _HEADINGS[kind.__name__]


_HEADINGS = {
    "Recipe": "Top of a recipe",
    "Timeouts": "[endpoint.timeouts]",
    "Place": "A place in an answer that is not in its JSON",
}


def _table(kind: type[msgspec.Struct]) -> str:
    meanings = _meanings(kind)
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    tag = kind.__struct_config__.tag
    if tag is not None:
        rows.append(f"| `flow` | text | | `{tag}` |")
    for field in _fields(kind):
        name = field.encode_name
        cells = (f"`{name}`", _type(field.type), _default(field), meanings[name])
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows)


def _type(kind: msgspec.inspect.Type) -> str:
    """Return a type in words."""
    match kind:
        case msgspec.inspect.StrType():
            return "text"
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            return "number"
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.LiteralType(values=values):
            return ", ".join(f"`{value}`" for value in values)
        case msgspec.inspect.DictType(value_type=value):
            inner = _type(value)
            return "table" if inner in ("any", "text") else f"table of {inner}"
        case (
            msgspec.inspect.ListType(item_type=item) | msgspec.inspect.VarTupleType(item_type=item)
        ):
            return f"list of {_type(item)}"
        case msgspec.inspect.StructType():
            return "table"
        case msgspec.inspect.UnionType(types=types):
            known = (option for option in types if not isinstance(option, msgspec.inspect.NoneType))
            return " or ".join(dict.fromkeys(_type(option) for option in known))
        case _:
            return "any"


def _default(field: msgspec.inspect.Field) -> str:
    if field.required:
        return ""
    value = field.default
    if value is msgspec.NODEFAULT:
        value = field.default_factory() if callable(field.default_factory) else None
    if value is None or isinstance(value, msgspec.Struct) or value in ({}, [], ()):
        return "none" if value is None or not isinstance(value, msgspec.Struct) else "its defaults"
    return f"`{msgspec.json.encode(value).decode()}`"


if __name__ == "__main__":
    print(reference_markdown(), end="")
