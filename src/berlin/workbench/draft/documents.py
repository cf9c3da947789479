"""Finds out how an answer is cut into pieces."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from berlin.errors import ConfigurationError
from berlin.wire.framing import Framing
from berlin.wire.json import DECODE_ERRORS
from berlin.wire.snippet import snippet
from berlin.wire.sse import SseFrame, SseFramer

MAX_MARK_BYTES = 40


class Pieces(msgspec.Struct, frozen=True):
    """An answer in pieces.

    Attributes:
        framing: how it is cut.
        documents: the objects, as the framing makes them.
        done: the mark that ends it, for server-sent events; `""` if there is none.
    """

    framing: Framing
    documents: list[Any]
    done: str = ""


def cut_answer(answer: bytes) -> Pieces:
    """Return the pieces of an answer.

    Raises:
        ConfigurationError: if it is nothing that a recipe can describe.
    """
    head = answer.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head:
        raise ConfigurationError("the answer is empty: copy it when it is whole")
    if re.match(rb"<(!doctype|html|head|body)\b", head, re.IGNORECASE):
        raise ConfigurationError(
            f"the answer is a web page, not an answer of a chat: {snippet(answer, 80)!r}"
        )
    if re.search(rb"(?m)^(data|event):", head) and not head.startswith((b"{", b"[")):
        return _cut_events(head)
    whole = _decode(head)
    if isinstance(whole, list) and whole and all(isinstance(item, dict) for item in whole):
        return Pieces("json-array", whole)
    if isinstance(whole, dict):
        return Pieces("json", [whole])
    lines = [_decode(line) for line in head.splitlines() if line.strip()]
    if all(isinstance(line, dict) for line in lines):
        return Pieces("ndjson", lines)
    if head.startswith((b"{", b"[")):
        raise ConfigurationError(
            "the answer begins as JSON, but is neither one document nor one object a line; "
            f"was it copied whole? It ends with {snippet(answer[-80:], 80)!r}"
        )
    return Pieces("text", [{"data": head.decode("utf-8", "replace")}])


def _cut_events(answer: bytes) -> Pieces:
    frames = SseFramer().feed(answer.replace(b"\r\n", b"\n") + b"\n\n")
    if not frames:
        raise ConfigurationError("the answer has server-sent events without data")
    done = _mark(frames)
    said = frames[:-1] if done else frames
    said = [frame for frame in said if frame.data.strip()]
    objects = [_decode(frame.data) for frame in said]
    if any(item is None for item in objects):
        texts = [{"event": f.event, "data": f.data.decode("utf-8", "replace")} for f in said]
        return Pieces("sse-text", texts, done)
    if not all(isinstance(item, dict) for item in objects) or _needs_names(said, objects):
        named = [{"event": f.event, "data": o} for f, o in zip(said, objects, strict=True)]
        return Pieces("sse-events", named, done)
    return Pieces("sse", objects, done)


def _mark(frames: list[SseFrame]) -> str:
    """Return the data of the last event, if it is a mark of the end and no text."""
    last = frames[-1].data.strip()
    is_mark = re.fullmatch(rb"\[?[A-Z_]{3,20}\]?|\[[A-Za-z_ -]{2,20}\]|<[|/a-zA-Z_]{2,20}>", last)
    return last.decode() if is_mark and len(last) <= MAX_MARK_BYTES and len(frames) > 1 else ""


def _needs_names(frames: list[SseFrame], objects: list[Any]) -> bool:
    """Whether the events' names say what the objects do not say themselves."""
    names = [frame.event for frame in frames]
    if len(set(names)) < 2:
        return False
    return not any(
        all(item.get(member) == name for name, item in zip(names, objects, strict=True))
        for member in ("type", "event", "kind")
    )


def _decode(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except DECODE_ERRORS:
        return None
