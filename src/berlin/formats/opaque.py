"""Opaque state of one dialect's service, carried by clients of another dialect.

A service that thinks wants back what only it can read: a signature of Anthropic, a thought
signature of Gemini, encrypted reasoning. Clients of each dialect send one member back unchanged
(`encrypted_content`, `signature` and `data`, `reasoning_details`). The state of another dialect
travels in it, in an envelope.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from berlin.formats.table import table_of
from berlin.types import Extra, MaybeExtra, OpaquePart, ReasoningPart, make_extra
from berlin.wire.json import DECODE_ERRORS, encode_value

_MARK = "berlin.1."

State: TypeAlias = ReasoningPart | OpaquePart
"""A whole part of a turn that its service wants back."""


class Opaque(msgspec.Struct, frozen=True):
    """The contents of an envelope.

    Attributes:
        reasoning: what belongs to the reasoning that the envelope is part of.
        calls: what belongs to tool calls of the same turn, by their ids.
        parts: whole parts of the turn.
    """

    reasoning: Extra | None = None
    calls: Mapping[str, Extra] = {}
    parts: tuple[State, ...] = ()


class _Inside(msgspec.Struct, omit_defaults=True):
    dialect: str = ""
    members: dict[str, Any] = {}
    calls: dict[str, tuple[str, dict[str, Any]]] = {}
    parts: list[tuple[str, dict[str, Any], str | None]] = []


_DECODER = msgspec.json.Decoder(_Inside)


def seal(
    reasoning: Extra | None = None,
    calls: Mapping[str, Extra] | None = None,
    parts: Iterable[State] = (),
) -> str:
    """Return an envelope with this state."""
    inside = _Inside()
    if reasoning is not None:
        inside.dialect, inside.members = reasoning.dialect, dict(reasoning.members)
    inside.calls = {id: (e.dialect, dict(e.members)) for id, e in (calls or {}).items()}
    inside.parts = [_written(part) for part in parts]
    return _MARK + base64.urlsafe_b64encode(encode_value(inside)).decode()


def unseal(text: object) -> Opaque | None:
    """Return the contents of an envelope; `None` if it is not one of Berlin's."""
    if not isinstance(text, str) or not text.startswith(_MARK):
        return None
    try:
        data = base64.b64decode(text.removeprefix(_MARK), altchars=b"-_", validate=True)
        inside = _DECODER.decode(data)
    except (binascii.Error, *DECODE_ERRORS):
        return Opaque()  # damaged: nobody can read it, so nothing is sent on
    reasoning = Extra(inside.dialect, inside.members) if inside.dialect else None
    calls = {id: Extra(*held) for id, held in inside.calls.items()}
    return Opaque(reasoning, calls, tuple(_read(*part) for part in inside.parts))


def opaque_of_call(extra: MaybeExtra, dialect: str) -> MaybeExtra:
    """Return what a service of another dialect wants back with its call, if anything.

    Args:
        extra: the members of the call.
        dialect: the client's dialect, which sends its own members back anyway.
    """
    if extra is None or extra.dialect == dialect:
        return None
    table = table_of(extra.dialect)
    kept = {
        name: value
        for name, value in extra.members.items()
        if table.fate(f"tool_calls.{name}") == "dropped"
    }
    return make_extra(extra.dialect, kept)


def is_opaque_part(extra: Extra, dialect: str) -> bool:
    """Whether a part is state of a service of another dialect, and not content."""
    if extra.dialect == dialect:
        return False
    return table_of(extra.dialect).own.get(f"content.type.{extra.members.get('type')}") == "dropped"


def _written(part: State) -> tuple[str, dict[str, Any], str | None]:
    text = part.text if isinstance(part, ReasoningPart) else None
    if part.extra is None:
        return "", {}, text
    return part.extra.dialect, dict(part.extra.members), text


def _read(dialect: str, members: dict[str, Any], text: str | None) -> State:
    extra = Extra(dialect, members)
    if text is None:
        return OpaquePart(extra)
    return ReasoningPart(text, extra if dialect else None)
