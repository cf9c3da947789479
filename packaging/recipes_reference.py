"""Writes docs/recipes-reference.md, all tables and keys of a recipe: `make reference`."""

from __future__ import annotations

import re

import msgspec

from berlin.workbench.schema import description_of, fields_of, meanings_of, tables


def page() -> str:
    """Return the page about all tables and keys of a recipe."""
    parts = [
        "# All tables and keys of a recipe\n\n"
        "This page is made from the types that read a recipe "
        "(`make reference`); how to write one is in "
        "[recipes.md](recipes.md). A *pointer* is a JSON Pointer (RFC 6901): `/data/token`. Keys "
        "without a default must be there; an unknown key is an error.\n"
    ]
    parts += [f"## {_heading(k)}\n\n{description_of(k)}\n\n{_table(k)}\n" for k in tables()]
    return "\n".join(parts)


def _heading(kind: type[msgspec.Struct]) -> str:
    """Return the name of a table for a heading."""
    config = kind.__struct_config__
    if config.tag is not None:
        return f"[auth] with flow = {config.tag}"
    names = re.findall(r"`(\[+[\w.]+\]+)`", description_of(kind))
    return " and ".join(names) or _HEADINGS[kind.__name__]


_HEADINGS = {
    "Recipe": "Top of a recipe",
    "Timeouts": "[endpoint.timeouts]",
    "Place": "A place in an answer that is not in its JSON",
}


def _table(kind: type[msgspec.Struct]) -> str:
    meanings = meanings_of(kind)
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    tag = kind.__struct_config__.tag
    if tag is not None:
        rows.append(f"| `flow` | text | | `{tag}` |")
    for field in fields_of(kind):
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
    print(page(), end="")
