"""A JSON Schema as people write types: `{path: string, lines?: number[]}`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

MAX_DEPTH = 6
_SIMPLE = {"string", "number", "integer", "boolean", "null"}


class Member(NamedTuple):
    """A member of an object, such as an argument of a tool."""

    name: str
    is_required: bool
    type: str
    description: str

    def __str__(self) -> str:
        return f"{self.name}{'' if self.is_required else '?'}: {self.type}"


class Signature:
    """Writes the types of one schema; names, required members and choices are never left out.

    Args:
        schema: the schema of a tool's arguments.
    """

    def __init__(self, schema: Any) -> None:
        self._root = schema if isinstance(schema, Mapping) else {}

    def members(self) -> list[Member]:
        """Return the arguments."""
        return self._members(self._root, 0)

    def _members(self, schema: Mapping[str, Any], depth: int) -> list[Member]:
        found: dict[str, Member] = {}
        for part in self._parts(schema):
            properties = part.get("properties")
            required = _names(part.get("required"))
            for name, inner in (properties if isinstance(properties, Mapping) else {}).items():
                inner = self._resolve(inner, depth)
                said = inner.get("description", "")
                said = said if isinstance(said, str) else ""
                found[name] = Member(name, False, self.type_of(inner, depth + 1), said)
            for name in required:
                known = found.get(name) or Member(name, True, "any", "")
                found[name] = known._replace(is_required=True)
        return list(found.values())

    def _parts(self, schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return a schema and those in its `allOf`."""
        added = schema.get("allOf")
        more = [self._resolve(part, 1) for part in added] if isinstance(added, list) else []
        return [schema, *more]

    def type_of(self, schema: Any, depth: int = 0) -> str:
        """Return the type that a schema describes."""
        schema = self._resolve(schema, depth)
        if depth > MAX_DEPTH:
            return "any"
        if "const" in schema:
            return _value(schema["const"])
        if isinstance(schema.get("enum"), list):
            return " | ".join(map(_value, schema["enum"])) or "any"
        for name in ("anyOf", "oneOf"):
            if isinstance(schema.get(name), list):
                types = dict.fromkeys(self.type_of(one, depth + 1) for one in schema[name])
                return " | ".join(types) or "any"
        kind = schema.get("type")
        if isinstance(kind, list):
            each = (self.type_of({**schema, "type": one}, depth) for one in kind)
            return " | ".join(dict.fromkeys(each)) or "any"
        if kind == "array":
            inner = self.type_of(schema.get("items", {}), depth + 1)
            return f"({inner})[]" if " | " in inner else f"{inner}[]"
        if kind == "object" or "properties" in schema or "allOf" in schema:
            return self._object(schema, depth)
        return kind if isinstance(kind, str) and kind in _SIMPLE else "any"

    def _object(self, schema: Mapping[str, Any], depth: int) -> str:
        members = self._members(schema, depth)
        if members:
            return f"{{{', '.join(map(str, members))}}}"
        values = schema.get("additionalProperties")
        if isinstance(values, Mapping) and values:
            return f"{{[name]: {self.type_of(values, depth + 1)}}}"
        return "object"

    def _resolve(self, schema: Any, depth: int) -> Mapping[str, Any]:
        """Resolve a reference within the same document."""
        for _ in range(MAX_DEPTH):
            if not isinstance(schema, Mapping):
                return {}
            reference = schema.get("$ref")
            if not isinstance(reference, str) or not reference.startswith("#"):
                return schema
            schema = self._at(reference.removeprefix("#").split("/")[1:])
        return {}

    def _at(self, path: Sequence[str]) -> Any:
        place: Any = self._root
        for name in path:
            name = name.replace("~1", "/").replace("~0", "~")
            place = place.get(name) if isinstance(place, Mapping) else None
        return place


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
