"""Writes a recipe's file: TOML as a person would lay it out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from berlin.recipes.recipe import Recipe
from berlin.workbench.draft.leaves import without_null

LINE_LENGTH = 96

Path: TypeAlias = tuple[str, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def write_toml(tree: Mapping[str, Any], notes: Mapping[Path, str] | None = None) -> str:
    """Return a TOML document.

    Args:
        tree: tables of JSON values; `None` is left out, since TOML has no such value.
        notes: comments for the lines of these keys.
    """
    lines: list[str] = []
    _write_table(without_null(tree), (), notes or {}, lines)
    return "\n".join(lines).strip("\n") + "\n"


def recipe_tree(recipe: Recipe) -> dict[str, Any]:
    """Return the tables of a recipe, without defaults and with what it inherits."""
    tree: dict[str, Any] = {"schema": recipe.schema, **_changed(recipe)}
    tree.pop("extends", None)
    return tree


def _changed(value: Any) -> Any:
    match value:
        case msgspec.Struct():
            tag = value.__struct_config__
            tree = {tag.tag_field: tag.tag} if tag.tag_field else {}
            for field in msgspec.structs.fields(value):
                member = getattr(value, field.name)
                made = field.default_factory
                default = field.default if made is msgspec.NODEFAULT else made()
                if member != default:
                    tree[field.encode_name] = _changed(member)
            return tree
        case dict():
            return {name: _changed(member) for name, member in value.items()}
        case list() | tuple():
            return [_changed(item) for item in value]
        case _:
            return value


def _write_table(
    table: Mapping[str, Any], path: Path, notes: Mapping[Path, str], lines: list[str]
) -> None:
    later: list[tuple[str, Any]] = []
    for key, value in table.items():
        here = (*path, key)
        line = f"{_key(key)} = {_inline(value)}"
        # A table on one line gets the notes of everything in it.
        inside = (text for place, text in notes.items() if place[: len(here)] == here)
        note = "; ".join(dict.fromkeys(inside))
        note = f"  # {comment(note)}" if note else ""
        if _is_apart(value, path, line):
            later.append((key, value))
        elif len(line) > LINE_LENGTH and isinstance(value, list) and value:
            items = "".join(f"    {_inline(item)},\n" for item in value)
            lines.append(f"{_key(key)} = [{note}\n{items}]")
        else:
            lines.append(line + note)
    for key, value in later:
        here = (*path, key)
        head = ".".join(map(_key, here))
        note = f"  # {comment(notes[here])}" if here in notes else ""
        for item in value if isinstance(value, list) else [value]:
            lines += ["", f"[[{head}]]{note}" if isinstance(value, list) else f"[{head}]{note}"]
            _write_table(item, here, notes, lines)


def _is_apart(value: Any, path: Path, line: str) -> bool:
    """Whether a value gets its own table: tables of the language do, and long ones."""
    if isinstance(value, list):
        # A body may hold lists of objects too, but only steps read well as tables.
        return len(path) == 1 and bool(value) and all(isinstance(item, dict) for item in value)
    return isinstance(value, dict) and bool(value) and (not path or len(line) > LINE_LENGTH)


def _inline(value: Any) -> str:
    match value:
        case dict() if value:
            members = ", ".join(f"{_key(k)} = {_inline(v)}" for k, v in value.items())
            return f"{{ {members} }}"
        case dict():
            return "{}"
        case list():
            return f"[{', '.join(map(_inline, value))}]"
        case str():
            return _string(value)
        case _:
            return json.dumps(value)


def comment(text: str) -> str:
    """Return text that is safe in a comment: the names in it may contain anything."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    clean = text.encode("utf-8", "replace").decode()
    written = json.dumps(clean, ensure_ascii=False)
    # Some readers treat U+2028 and similar as line ends.
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in written)
