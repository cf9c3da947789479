"""Guesses the meaning of each kind of object in an answer."""

from __future__ import annotations

import re
from typing import Any

from berlin.errors import ConfigurationError
from berlin.workbench.draft.documents import Pieces
from berlin.workbench.draft.leaves import GUESS, Place, last_name, leaves, pointer

REASONING = re.compile(r"reasoning|think|thought", re.IGNORECASE)
_KIND_NAMES = frozenset(
    {"type", "event", "kind", "op", "action", "cmd", "eventtype", "msgtype", "msg"}
)


def add_kinds(
    pieces: Pieces, text: Place, is_cumulative: bool, stream: dict[str, Any], notes: dict[str, str]
) -> None:
    """Add the meaning of each kind of object, if the objects have a kind.

    Args:
        pieces: the answer.
        text: the place of its text.
        is_cumulative: whether each piece is the whole text so far.
        stream: the table `[chat.stream]`, to be added to.
        notes: comments for its lines, to be added to.

    Raises:
        ConfigurationError: if there is no text.
    """
    rows = [dict(leaves(document)) for document in pieces.documents]
    kind = _kind_of(pieces, rows, text)
    if kind is None:
        return
    texts: dict[str, str] = {}
    for row in rows:
        if isinstance(row[kind], str):
            texts[row[kind]] = texts.get(row[kind], "") + str(row.get(text) or "")
    main = max(texts, key=lambda word: len(texts[word]))
    kinds: dict[str, str] = {}
    for word, said in texts.items():
        last = word == rows[-1].get(kind)
        if word == main:
            kinds[word] = "text"
        elif said and REASONING.search(word):
            kinds[word] = "reasoning"
        elif re.search(r"error|fail", word, re.IGNORECASE):
            kinds[word] = "error"
        elif not said and re.search(r"end|done|finish|complet|stop", word, re.IGNORECASE) and last:
            kinds[word] = "end"
        elif said:
            kinds[word] = "skip"
            notes["kinds"] = f"{GUESS}: {word} has text too, but seems to be no part of the answer"
    kinds.setdefault("error", "error")
    stream["kind"], stream["kinds"] = pointer(kind), kinds
    notes.setdefault("kinds", f"{GUESS}; kinds that are not listed are skipped")
    if not is_cumulative and texts[main] == "":
        raise ConfigurationError("there is no text in the answer: copy one with a few words")


def _kind_of(pieces: Pieces, rows: list[dict[Place, Any]], text: Place) -> Place | None:
    """Return the place of the objects' kind, if it distinguishes text from the rest."""
    if pieces.is_one:
        return None
    places: list[Place] = [("event",)] if pieces.framing.name.startswith("sse-") else []
    places += [p for p in rows[0] if len(p) <= 2 and last_name(p) in _KIND_NAMES]
    for place in places:
        if place == text or not all(place in row for row in rows):
            continue
        words = {row[place] for row in rows}
        with_text = {row[place] for row in rows if row.get(text)}
        if len(words) > 1 and with_text != words and len(words) <= 12:
            return place
        if len(with_text) > 1 and len(with_text) <= 12:
            return place
    return None
