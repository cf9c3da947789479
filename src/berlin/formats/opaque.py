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
from typing import Any, TypeAlias, TypeGuard

import msgspec

from berlin.formats.table import table_of
from berlin.types import (
    Extra,
    ExtraDelta,
    MaybeExtra,
    OpaquePart,
    Part,
    ReasoningPart,
    ToolCallDelta,
    ToolCallPart,
    make_extra,
    merge_extra,
)
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
    """Return the state that a service of another dialect wants back with its call, if any.

    Args:
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


def is_state(extra: MaybeExtra) -> TypeGuard[Extra]:
    """Whether members of reasoning are more than the head of an item, whose id says nothing without
    them.
    """
    return extra is not None and not extra.members.keys() <= {"item", "parts"}


def is_opaque_part(extra: Extra, dialect: str) -> bool:
    """Whether a part is state of a service of another dialect, and not content."""
    if extra.dialect == dialect:
        return False
    return table_of(extra.dialect).own.get(f"content.type.{extra.members.get('type')}") == "dropped"


class TurnState:
    """Collects what a service of another dialect wants back of the turn that streams."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._parts: list[OpaquePart | _Thought] = []
        self._calls: dict[int, list[MaybeExtra]] = {}
        self._ids: dict[int, str] = {}

    def think(self, text: str) -> None:
        """Take a piece of reasoning."""
        self._thought().pieces.append(text)

    def take(self, event: ExtraDelta) -> bool:
        """Take members of another dialect; return whether they are kept."""
        extra = event.extra
        if extra.dialect == self._dialect:
            return False
        if event.at == "reasoning":
            thought = self._thought(anew=event.opens)
            thought.extras.append(extra)
        elif event.at == "part" and is_opaque_part(extra, self._dialect):
            self._parts.append(OpaquePart(extra))
        else:
            return False
        return True

    def call(self, event: ToolCallDelta) -> None:
        """Take a piece of a call."""
        if event.id:
            self._ids[event.index] = event.id
        state = opaque_of_call(event.extra, self._dialect)
        if state is not None:
            self._calls.setdefault(event.index, []).append(state)

    def sealed(self) -> str:
        """Return the envelope; `""` if the service wants nothing back."""
        if not self._parts and not self._calls:
            return ""
        parts = [part if isinstance(part, OpaquePart) else part.part() for part in self._parts]
        calls = {
            self._ids.get(index, ""): extra
            for index, states in self._calls.items()
            if (extra := merge_extra(*states)) is not None
        }
        return _sealed(parts, calls)

    def _thought(self, *, anew: bool = False) -> _Thought:
        last = self._parts[-1] if self._parts else None
        if anew or not isinstance(last, _Thought):
            last = _Thought()
            self._parts.append(last)
        return last


class _Thought:
    """A part of reasoning while it is being built."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.extras: list[Extra] = []

    def part(self) -> ReasoningPart:
        return ReasoningPart("".join(self.pieces), merge_extra(*self.extras))


def sealed_state(parts: Iterable[Part], dialect: str) -> str:
    """Return the envelope of a whole turn; `""` if its service wants nothing back."""
    kept: list[State] = []
    calls: dict[str, Extra] = {}
    for part in parts:
        match part:
            case ReasoningPart() if part.extra is None or part.extra.dialect != dialect:
                kept.append(part)
            case OpaquePart() if is_opaque_part(part.extra, dialect):
                kept.append(part)
            case ToolCallPart() if (state := opaque_of_call(part.extra, dialect)) is not None:
                calls[part.id] = state
            case _:
                pass
    return _sealed(kept, calls)


def _sealed(parts: list[State], calls: dict[str, Extra]) -> str:
    if not calls and not any(is_state(part.extra) for part in parts):
        return ""
    return seal(calls=calls, parts=parts)


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
