"""Finds what marks the pieces of an answer: their kinds, the finish reason, counts and ids."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from berlin.errors import ConfigurationError
from berlin.workbench.draft.documents import Pieces
from berlin.workbench.draft.leaves import GUESS, Place, last_name, leaves, pointer

REASONS = (
    *("finishreason", "stopreason", "donereason", "endreason", "finish", "reason", "status"),
    *("state", "done", "isend", "isfinal", "isfinished", "finished", "final", "end", "stop"),
)
_COUNTS = {
    "input_tokens": (
        *("prompttokens", "inputtokens", "prompttokencount", "prompteval", "tokensin", "intokens"),
    ),
    "output_tokens": (
        *("completiontokens", "outputtokens", "candidatestokencount", "evalcount", "tokensout"),
        "outtokens",
    ),
}
_OF_TOKENS = ("usage", "tokens", "tokenusage", "tokencount")
_IDS = {
    "conversation_id": ("conversationid", "chatid", "sessionid", "threadid", "dialogid"),
    "message_id": ("messageid", "msgid", "answerid", "replyid"),
}
_WORDS = {
    "stop": ("stop", "endturn", "done", "complete", "completed", "finished", "eos", "end"),
    "length": ("length", "maxtokens", "cut", "truncated"),
    "content_filter": ("contentfilter", "safety", "blocked"),
}
# A number that only the last object has says that it is the last.
_ENDS = re.compile(r"end|done|finish|complet|stop|close|^[0-9]+$", re.IGNORECASE)
REASONING = re.compile(r"reasoning|think|thought", re.IGNORECASE)
# The likeliest first.
KIND_NAMES = (
    *("type", "event", "target", "kind", "op", "action", "cmd", "eventtype", "msgtype", "method"),
    *("msg", "role", "author", "sender"),
)


class Ending(msgspec.Struct, frozen=True):
    """The members that mark the end of an answer.

    Attributes:
        reason: the place of the finish reason.
        words: the service's finish reasons and ours.
        unfinished: its values before the end.
        counts: the places of the token counts.
        ids: the places of the conversation and message ids.
    """

    reason: Place | None
    words: dict[str, str]
    unfinished: list[str]
    counts: dict[str, Place]
    ids: dict[str, Place]


def find_ending(pieces: Pieces, text: Place) -> Ending:
    """Return the members that mark the end; `text` is the place of the text."""
    rows = [dict(leaves(document)) for document in pieces.documents]
    reason = _reason(pieces, rows, text)
    words: dict[str, str] = {}
    unfinished: list[str] = []
    if reason is not None:
        seen = [row[reason] for row in rows if isinstance(row.get(reason), str) and row[reason]]
        if seen:
            unfinished = sorted(set(seen[:-1]) - {seen[-1]})
            name = last_name((seen[-1],))
            ours = next((ours for ours, known in _WORDS.items() if name in known), None)
            words = {seen[-1]: ours} if ours else {}
            if words.get("stop") == "stop":
                words["length"] = "length"
    return Ending(
        reason, words, unfinished, _named(rows, _COUNTS, (int,)), _named(rows, _IDS, (int, str))
    )


def _reason(pieces: Pieces, rows: list[dict[Place, Any]], text: Place) -> Place | None:
    places = {place for row in rows for place in row if place != text}
    # Kinds are handled elsewhere; in an answer of one piece a word may mean anything.
    for name in REASONS:
        for place in sorted(places, key=len):
            if last_name(place) == name and _ends(pieces, [row.get(place) for row in rows]):
                return place
    return None


def _ends(pieces: Pieces, values: list[Any]) -> bool:
    """Whether the last value first appears near the end, so that it can mark it."""
    said = [value for value in values if value not in (None, "", False, 0)]
    if not said or not isinstance(said[-1], str | bool):
        return False
    if pieces.framing.is_single:
        return isinstance(said[-1], str) and any(
            last_name((said[-1],)) in words for words in _WORDS.values()
        )
    first = next(n for n, value in enumerate(values) if value == said[-1])
    return first >= max(1, len(values) - 3)


def _named(
    rows: list[dict[Place, Any]], table: Mapping[str, tuple[str, ...]], kinds: tuple[type, ...]
) -> dict[str, Place]:
    """Return the first places of values of these kinds whose names a table has."""
    found: dict[str, Place] = {}
    for row in rows:
        for place, value in row.items():
            for ours, names in table.items():
                # `{"usage": {"in": 3}}` counts tokens, too.
                name = last_name(place) + "tokens" * (last_name(place[:-1]) in _OF_TOKENS)
                if type(value) in kinds and value and name.startswith(names):
                    found.setdefault(ours, place)
    return found


def add_kinds(
    pieces: Pieces,
    text: Place,
    is_cumulative: bool,
    reason: Place | None,
    stream: dict[str, Any],
    notes: dict[str, str],
) -> None:
    """Add the meaning of each kind of object, if they have one. Raises ConfigurationError.

    They are added to the table `[chat.stream]`, with comments for its lines.
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
