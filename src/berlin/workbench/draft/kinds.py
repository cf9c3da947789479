"""Guesses the meaning of each kind of object in an answer."""

from __future__ import annotations

import re
from typing import Any

from berlin.errors import ConfigurationError
from berlin.workbench.draft.documents import Pieces
from berlin.workbench.draft.leaves import GUESS, Place, last_name, leaves, pointer

# A number that only the last object has says that it is the last.
_ENDS = re.compile(r"end|done|finish|complet|stop|close|^[0-9]+$", re.IGNORECASE)
REASONING = re.compile(r"reasoning|think|thought", re.IGNORECASE)
KIND_NAMES = frozenset(
    {
        *("type", "event", "kind", "op", "action", "cmd", "eventtype", "msgtype", "msg", "target"),
        *("role", "author", "sender"),
    }
)


def add_kinds(
    pieces: Pieces,
    text: Place,
    is_cumulative: bool,
    reason: Place | None,
    stream: dict[str, Any],
    notes: dict[str, str],
) -> None:
    """Add the meaning of each kind of object, if the objects have a kind.

    Args:
        pieces: the answer.
        text: the place of its text.
        is_cumulative: whether each piece is the whole text so far.
        reason: the place of the finish reason.
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
        if (word := _word(row[kind])) is not None:
            texts[word] = texts.get(word, "") + str(row.get(text) or "")
    if is_cumulative:
        # The most pieces, not the most text: the last object may repeat all of it.
        said_by = [_word(row[kind]) for row in rows if row.get(text)]
        main = max(texts, key=said_by.count)
    else:
        # Reasoning may be longer than the answer.
        answers = [word for word in texts if texts[word] and not REASONING.search(word)]
        main = max(answers or texts, key=lambda word: len(texts[word]))
    kinds: dict[str, str] = {}
    for word, said in texts.items():
        last = word == _word(rows[-1].get(kind))
        is_final = last and is_cumulative and _is_whole(rows, text)
        repeats = last and not is_cumulative and len(said) > 1 and said == texts[main]
        if is_final and word != main:
            kinds[word] = "end"
        elif word == main:
            kinds[word] = "text"
        elif repeats:
            kinds[word] = "final"
        elif said and REASONING.search(word):
            kinds[word] = "reasoning"
        elif re.search(r"error|fail", word, re.IGNORECASE):
            kinds[word] = "error"
        elif not said and last and (_ENDS.search(word) or (reason and rows[-1].get(reason))):
            kinds[word] = "end"
        elif said:
            kinds[word] = "skip"
            notes["kinds"] = f"{GUESS}: {word} has text too, but seems to be no part of the answer"
    kinds.setdefault("error", "error")
    stream["kind"], stream["kinds"] = pointer(kind), kinds
    notes.setdefault("kinds", f"{GUESS}; kinds that are not listed are skipped")
    if not is_cumulative and texts[main] == "":
        raise ConfigurationError("there is no text in the answer: copy one with a few words")


def _is_whole(rows: list[dict[Place, Any]], text: Place) -> bool:
    """Whether the last object repeats or completes the text so far."""
    before = [row[text] for row in rows[:-1] if row.get(text)]
    return bool(before) and str(rows[-1].get(text) or "").startswith(str(before[-1]))


def _word(value: object) -> str | None:
    """Return a kind as the recipe writes it: text, or a number."""
    return value if isinstance(value, str) else str(value) if type(value) is int else None


def _kind_of(pieces: Pieces, rows: list[dict[Place, Any]], text: Place) -> Place | None:
    """Return the place of the objects' kind, if it distinguishes text from the rest."""
    if pieces.is_one:
        return None
    places: list[Place] = [("event",)] if pieces.framing.name.startswith("sse-") else []
    places += [p for p in rows[0] if len(p) <= 2 and last_name(p) in KIND_NAMES]
    for place in places:
        if place == text or not all(place in row for row in rows):
            continue
        words = {row[place] for row in rows}
        with_text = {row[place] for row in rows if row.get(text)}
        if any(_word(word) is None for word in words):
            continue
        if len(words) > 1 and with_text != words and len(words) <= 12:
            return place
        if len(with_text) > 1 and len(with_text) <= 12:
            return place
    return None
