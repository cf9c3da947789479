"""Dialect-specific members, which travel beside the common ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec


class Extra(msgspec.Struct, frozen=True, gc=False):
    """Members of one place (a request, message, part, tool or event), verbatim.

    A dialect reads back only its own: `extra_of(value.extra, "openai")`. Their translation to
    another dialect is decided by the table of their own dialect.

    Attributes:
        dialect: the dialect they belong to: `openai`, `responses`, `anthropic`, `ollama`.
        members: names and decoded JSON values, as received.
    """

    dialect: str
    members: Mapping[str, Any]


MaybeExtra: TypeAlias = Extra | None


def extra_of(extra: MaybeExtra, dialect: str) -> Mapping[str, Any]:
    """Return the members of this dialect; empty if there are none."""
    return extra.members if extra is not None and extra.dialect == dialect else {}


def make_extra(dialect: str, members: Mapping[str, Any]) -> MaybeExtra:
    """Return the members as an `Extra`, or `None` if there are none."""
    return Extra(dialect, members) if members else None


def merge_extra(*pieces: MaybeExtra) -> MaybeExtra:
    """Merge consecutive pieces of the same value, in time proportional to them all.

    Text is joined, lists grow, and items of a list that carry one `index` are one item: like the
    official clients assemble streams. A piece of another dialect replaces those before it.
    """
    alike: list[Extra] = []
    for piece in pieces:
        if piece is not None:
            if alike and alike[-1].dialect != piece.dialect:
                alike.clear()
            alike.append(piece)
    if len(alike) < 2:
        return alike[0] if alike else None
    return Extra(alike[0].dialect, _merge_objects([piece.members for piece in alike]))


# Repeated with every piece, never split.
_WHOLE = frozenset({"id", "index", "type", "format", "name", "role"})


def _merge_objects(objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values: dict[str, list[Any]] = {}
    for members in objects:
        for name, value in members.items():
            values.setdefault(name, []).append(value)
    return {name: given[-1] if name in _WHOLE else _merge(given) for name, given in values.items()}


def _merge(values: list[Any]) -> Any:
    """Merge the last values that are of one kind; `None` says nothing."""
    alike: list[Any] = []
    for value in values:
        if value is not None:
            if alike and not (type(value) is type(alike[-1]) and type(value) in _GROWING):
                alike.clear()
            alike.append(value)
    if len(alike) < 2:
        return alike[0] if alike else None
    match alike[0]:
        case str():
            return "".join(alike)
        case list():
            return _merge_lists(alike)
        case _:
            return _merge_objects(alike)


_GROWING = (str, list, dict)


def _merge_lists(lists: list[list[Any]]) -> list[Any]:
    first, *others = lists
    merged: list[list[Any]] = []  # for each item, its pieces
    places: dict[tuple[Any, Any], list[Any]] = {}
    for items in (first, *others):
        for item in items:
            key = _key_of(item)
            known = places.get(key) if key is not None and items is not first else None
            if known is not None:
                known.append(item)
                continue
            merged.append([item])
            if key is not None:
                places.setdefault(key, merged[-1])
    return [pieces[0] if len(pieces) == 1 else _merge_objects(pieces) for pieces in merged]


def _key_of(item: Any) -> tuple[Any, Any] | None:
    """Return what all pieces of an item have in common, if it comes in pieces."""
    if not isinstance(item, dict) or not isinstance(item.get("index"), int | str):
        return None
    kind = item.get("type")
    return item["index"], kind if isinstance(kind, str) else None
