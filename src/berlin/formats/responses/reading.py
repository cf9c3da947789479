"""The state of an item while its events are read, and what its members mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berlin.formats.finish import finish_reason_of
from berlin.formats.loose import as_index, as_text
from berlin.types import FinishReason
from berlin.wire.json import encode_value


class ItemState:
    """The state of one item.

    Attributes:
        head: its members when it began.
        part: the kind and index of the part that is being built, once there is one.
        announced: the whole item when it began.
        streamed: whether its content arrived in pieces.
        ended: whether its end has come.
        notes: how many annotations its present part has.
    """

    def __init__(self, kind: str, head: Mapping[str, Any], announced: Mapping[str, Any]) -> None:
        self.kind = kind
        self.head = head
        self.announced = announced
        self.ended = False
        self.part: tuple[str, int] | None = None
        self.streamed = False
        self.notes = 0


def rest_of_call(item: Mapping[str, Any], known: ItemState) -> str:
    """Return the arguments that did not arrive in pieces."""
    if known.kind == "custom_tool_call":
        whole = encode_value({"input": as_text(item.get("input"))}).decode()
        return '"}' if known.streamed else whole
    return "" if known.streamed else arguments(item)


def arguments(holder: Mapping[str, Any]) -> str:
    """Return the arguments of a call as JSON text."""
    given = holder.get("arguments")
    return given if isinstance(given, str) else encode_value(given or {}).decode()


def index_of(event: Mapping[str, Any]) -> int | None:
    """Return the index of an event's item."""
    return as_index(event.get("output_index"))


def cut_reason(why: str) -> FinishReason:
    """Return why an answer is incomplete, so that it never looks complete."""
    reason = finish_reason_of(why) if why else "length"
    return reason if reason in ("length", "content_filter") else "length"
