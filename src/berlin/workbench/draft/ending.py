"""Finds the finish reason, token counts and ids in an answer."""

from __future__ import annotations

from typing import Any

import msgspec

from berlin.workbench.draft.documents import Pieces
from berlin.workbench.draft.leaves import Place, last_name, leaves

REASONS = (
    *("finishreason", "stopreason", "donereason", "endreason", "finish", "reason", "status"),
    *("state", "done", "isend", "isfinal", "isfinished", "finished", "final", "end", "stop"),
)
_COUNTS = {
    "input_tokens": ("prompttokens", "inputtokens", "prompttokencount", "prompteval", "tokensin"),
    "output_tokens": (
        *("completiontokens", "outputtokens", "candidatestokencount", "evalcount", "tokensout"),
    ),
}
_IDS = {
    "conversation_id": ("conversationid", "chatid", "sessionid", "threadid", "dialogid"),
    "message_id": ("messageid", "msgid", "answerid", "replyid"),
}
_WORDS = {
    "stop": ("stop", "endturn", "done", "complete", "completed", "finished", "eos", "end"),
    "length": ("length", "maxtokens", "cut", "truncated"),
    "content_filter": ("contentfilter", "safety", "blocked"),
}


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
    return Ending(reason, words, unfinished, _numbers(rows), _ids(rows))


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


def _numbers(rows: list[dict[Place, Any]]) -> dict[str, Place]:
    found: dict[str, Place] = {}
    for row in rows:
        for place, value in row.items():
            if isinstance(value, int) and not isinstance(value, bool):
                for ours, names in _COUNTS.items():
                    if last_name(place).startswith(names):
                        found.setdefault(ours, place)
    return found


def _ids(rows: list[dict[Place, Any]]) -> dict[str, Place]:
    found: dict[str, Place] = {}
    for row in rows:
        for place, value in row.items():
            for ours, names in _IDS.items():
                if isinstance(value, str | int) and value and last_name(place) in names:
                    found.setdefault(ours, place)
    return found
