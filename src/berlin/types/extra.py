"""Dialect-specific members, which travel beside the common ones."""

from __future__ import annotations

from collections.abc import Mapping
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


def merge_extra(known: MaybeExtra, more: Extra) -> Extra:
    """Merge consecutive pieces of the same value.

    Text is joined, lists grow, and items of a list that carry one `index` are one item: like the
    official clients assemble streams.
    """
    if known is None or known.dialect != more.dialect:
        return more
    return Extra(more.dialect, _merge_objects(known.members, more.members))


# Repeated with every piece, never split.
_WHOLE = frozenset({"id", "index", "type", "format", "name", "role"})


def _merge_objects(known: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(known)
    for name, value in more.items():
        merged[name] = value if name in _WHOLE else _merge(merged.get(name), value)
    return merged


def _merge(known: Any, more: Any) -> Any:
    match known, more:
        case str(), str():
            return known + more
        case list(), list():
            return _merge_lists(known, more)
        case dict(), dict():
            return _merge_objects(known, more)
    return known if more is None else more


def _merge_lists(known: list[Any], more: list[Any]) -> list[Any]:
    merged = list(known)
    for item in more:
        at = _place_of(item, merged)
        if at is None:
            merged.append(item)
        else:
            merged[at] = _merge_objects(merged[at], item)
    return merged


def _place_of(item: Any, items: list[Any]) -> int | None:
    index = item.get("index") if isinstance(item, dict) else None
    if index is None:
        return None
    return next(
        (n for n, other in enumerate(items) if isinstance(other, dict) and _same(other, item)), None
    )


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.get("index") == other["index"] and one.get("type") == other.get("type")
