"""Opaque state of other dialects' services, carried in this dialect's own place for it.

A client of this API sends `encrypted_content` of reasoning items back unchanged. A signature of
Anthropic or a thought signature of Gemini travels in it, in an envelope with the dialect's name.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from berlin.types import Extra
from berlin.wire.json import DECODE_ERRORS, encode_body

_MARK = "berlin.1."


class Opaque(msgspec.Struct, frozen=True):
    """The contents of an envelope.

    Attributes:
        reasoning: what belongs to the reasoning item itself.
        calls: what belongs to tool calls of the same turn, by their ids.
    """

    reasoning: Extra | None = None
    calls: dict[str, Extra] = {}


class _Inside(msgspec.Struct, omit_defaults=True):
    dialect: str = ""
    members: dict[str, Any] = {}
    calls: dict[str, tuple[str, dict[str, Any]]] = {}


_DECODER = msgspec.json.Decoder(_Inside)


def seal(reasoning: Extra | None, calls: Mapping[str, Extra] | None = None) -> str:
    """Return `encrypted_content` with this state."""
    inside: dict[str, Any] = {}
    if reasoning is not None:
        inside = {"dialect": reasoning.dialect, "members": dict(reasoning.members)}
    if calls:
        inside["calls"] = {id: (e.dialect, dict(e.members)) for id, e in calls.items()}
    return _MARK + base64.urlsafe_b64encode(encode_body(inside)).decode()


def unseal(encrypted: object) -> Opaque | None:
    """Return the contents of an envelope; `None` if it is not one of Berlin's."""
    if not isinstance(encrypted, str) or not encrypted.startswith(_MARK):
        return None
    try:
        data = base64.b64decode(encrypted.removeprefix(_MARK), altchars=b"-_", validate=True)
        inside = _DECODER.decode(data)
    except (binascii.Error, *DECODE_ERRORS):
        return Opaque()  # damaged: nobody can read it, so nothing is sent on
    reasoning = Extra(inside.dialect, inside.members) if inside.dialect else None
    return Opaque(reasoning, {id: Extra(*held) for id, held in inside.calls.items()})
