"""Guesses the table `[chat.stream]` from an answer."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import msgspec

from berlin.errors import BerlinError, ConfigurationError
from berlin.formats.described.decoder import MappedDecoder
from berlin.language.tables.stream import CompiledStream, StreamMap
from berlin.types import ChatResponse
from berlin.wire.framings import recognise
from berlin.workbench.draft.documents import Pieces, cut_answer, read_answer
from berlin.workbench.draft.leaves import GUESS, Place, change_leaves, last_name, leaves, pointer
from berlin.workbench.draft.marks import KIND_NAMES, REASONING, Ending, add_kinds, find_ending

_TEXT_NAMES = frozenset(
    {
        *("content", "text", "delta", "answer", "message", "response", "output", "reply"),
        *("result", "generatedtext", "completion", "outputtext", "v", "chunk", "token", "data"),
        *("body", "markdown"),
    }
)
_OTHER_NAMES = frozenset(
    {
        *("id", "model", "object", "type", "event", "kind", "created", "createdat", "timestamp"),
        *("time", "role", "status", "uuid", "hash", "signature", "url", "title", "name"),
        *("finishreason", "stopreason", "reason", "lang", "language", "code", "systemfingerprint"),
        *("requestid", "messageid", "conversationid", "chatid", "sessionid", "parentid", "author"),
    }
)
_ID = re.compile(r"[\w:.\-]{8,}|[A-Za-z]{1,6}[_-][\w-]*\d[\w-]*")


class AnswerGuess(msgspec.Struct, frozen=True):
    """The guessed structure of an answer.

    Attributes:
        notes: comments for its lines.
        answer: what a recipe with this table reads from the answer.
    """

    stream: dict[str, Any]
    notes: dict[str, str]
    answer: ChatResponse = ChatResponse(())


def guess_answer(answer: bytes, prompt: str = "") -> AnswerGuess:
    """Guess the structure of an answer, in which the prompt may be repeated.

    Raises:
        ConfigurationError: if no text is found in it.
    """
    pieces = _without(cut_answer(answer), prompt)
    stream: dict[str, Any] = {"framing": pieces.framing.name}
    notes: dict[str, str] = {}
    texts = candidates(pieces.documents)
    if not texts:
        raise ConfigurationError("there is no text in the answer: copy one with a few words")
    best = texts[0]
    is_default = pieces.framing.name in ("text", "sse-text") and best.place == ("data",)
    if not is_default:
        stream["text"] = pointer(_before_final(pieces, best.place))
        if len(texts) > 1 and texts[1].score * 2 > best.score:
            notes["text"] = f"{GUESS}: it may be {pointer(texts[1].place)}"
    if best.is_cumulative:
        stream["text_is"] = "cumulative"
    reasoning = [t for t in texts if REASONING.search(last_name(t.place)) and t is not best]
    if reasoning:
        stream["reasoning"] = pointer(reasoning[0].place)
    ending = find_ending(pieces, best.place)
    add_kinds(pieces, best.place, best.is_cumulative, ending.reason, stream, notes)
    _add_ending(pieces, ending, stream, notes)
    _add_errors(pieces, stream)
    try:
        return AnswerGuess(stream, notes, _read(stream, answer))
    except ConfigurationError:
        if pieces.is_one or ("kind" in stream and not _only_whole(pieces, best.place, stream)):
            raise
    if "kind" in stream:
        notes["kinds"] = f"{GUESS}: only the whole answer is read; the pieces before it are skipped"
        return AnswerGuess(stream, notes, _read(stream, answer))
    stream["others"] = "skip"
    notes["others"] = f"{GUESS}: objects in which nothing of this is found say nothing"
    return AnswerGuess(stream, notes, _read(stream, answer))


def _without(pieces: Pieces, prompt: str) -> Pieces:
    """Return an answer without the prompt, where the service repeats it."""
    values = [value for document in pieces.documents for _, value in leaves(document)]
    texts = {value for value in values if isinstance(value, str) and value.startswith(prompt)}
    if not prompt or texts != {prompt}:
        return pieces  # a longer one is an answer that grows, and begins like the prompt

    def change(_: Place, value: Any) -> Any:
        return "" if value == prompt else value

    documents = [change_leaves(document, change) for document in pieces.documents]
    return msgspec.structs.replace(pieces, documents=documents)


def unread_answer(answer: bytes) -> AnswerGuess:
    """Return a table for an answer in which no text was found, to be completed by hand."""
    framing = recognise(answer).framing
    stream = {"framing": framing.name if framing is not None else "sse", "text": "/text"}
    note = f"{GUESS}: no text was found in the answer; point at it"
    return AnswerGuess(stream, {"text": note})


def _read(stream: dict[str, Any], answer: bytes) -> ChatResponse:
    """Read an answer with a table `[chat.stream]`. Raises ConfigurationError."""
    try:
        compiled = CompiledStream(msgspec.convert(stream, StreamMap))
        return read_answer(MappedDecoder(compiled), answer)
    except BerlinError as error:
        raise ConfigurationError(f"the answer is not understood: {error.message}") from error


def _only_whole(pieces: Pieces, text: Place, stream: dict[str, Any]) -> bool:
    """Read only the last text, if no other object is of its kind: the pieces may be changes."""
    rows = [{pointer(p): v for p, v in leaves(document)} for document in pieces.documents]
    last = next(row for row in reversed(rows) if isinstance(row.get(pointer(text)), str))
    word = last.get(stream["kind"])
    stream.pop("text_is", None)
    stream["kinds"] = {str(word): "final", "error": "error"}
    return [row.get(stream["kind"]) for row in rows].count(word) == 1


def _before_final(pieces: Pieces, place: Place) -> Place:
    """Return the place of the text, but not in a last document that repeats all of it."""
    rows = [dict(leaves(document)) for document in pieces.documents]
    texts = [row[place] for row in rows if isinstance(row.get(place), str)]
    final: dict[Place, Any] = next((row for row in reversed(rows) if row.get(place)), {})
    if len(texts) < 3 or final.get(place) != "".join(texts[:-1]):
        return place
    for where, value in final.items():
        # A condition on a member beside the text, such as `/?done!=true/text`.
        if where[:-1] == place[:-1] and isinstance(value, str | bool | int) and where != place:
            word = json.dumps(value) if not isinstance(value, str) else value
            if all(row.get(where) != value for row in rows if row is not final):
                return (*place[:-1], f"?{where[-1]}!={word}", place[-1])
    return place


class _Candidate(msgspec.Struct, frozen=True):
    """A place where the text may be."""

    place: Place
    score: float
    is_cumulative: bool


def candidates(documents: list[Any]) -> list[_Candidate]:
    """Return the places where a text may be, the best first."""
    values: dict[Place, list[str]] = {}
    for document in documents:
        for place, value in leaves(document):
            lasting = _lasting(place, document, len(documents) == 1)
            if isinstance(value, str) and value and lasting is not None and not is_error(place):
                values.setdefault(lasting, []).append(value)
    found = [_judge(place, series) for place, series in values.items()]
    good = [candidate for candidate in found if candidate.score > 0]
    return sorted(good, key=lambda candidate: -candidate.score)


def is_error(place: Place) -> bool:
    """Return whether a place is within an error that a service reports."""
    return any(last_name((part,)) in ("error", "errors", "errormessage") for part in place)


def _judge(place: Place, series: list[str]) -> _Candidate:
    grows = len(series) > 1 and all(after.startswith(before) for before, after in pairwise(series))
    is_cumulative = grows and series[-1] != series[0]
    text = series[-1] if is_cumulative else "".join(series)
    score = float(len(text))
    if len(series) > 1 and len(set(series)) == 1:
        score = 0.0  # always the same: an id, a model, a role
    elif all(_ID.fullmatch(value) and re.search(r"\d", value) for value in series):
        score = 0.0
    elif re.fullmatch(r"[\d.,:TZ+\-]+", text) or (
        not grows and len(series) > 2 and _is_numbered(series)
    ):
        score /= 20
    name = last_name(place)
    if name in KIND_NAMES and not any(re.search(r"\s", value) for value in series):
        score = 0.0  # the names of events
    elif name in _OTHER_NAMES or name.endswith(("id", "reason")):
        score = score / 50 if re.search(r"\s", text) else 0.0
    elif name in _TEXT_NAMES or place == ("data",):
        score *= 3
    if REASONING.search(name):
        score /= 10
    return _Candidate(place, score * len(series) / (len(series) + 0.2), is_cumulative)


def _is_numbered(series: list[str]) -> bool:
    """Whether texts differ only by numbers, as `message 1`, `message 2` do."""
    return len(series) > 2 and len({re.sub(r"\d+", "", value) for value in series}) == 1


def _lasting(place: Place, document: Any, has_last: bool) -> Place | None:
    """Return a place as it is in each answer; `None` in an item of a list other than the first.

    The last counts too in an answer of one document, as in a list of messages.
    """
    found = []
    for part in place:
        is_later = isinstance(document, list) and part != "0"
        if is_later and not (has_last and int(part) == len(document) - 1):
            return None
        found.append("-1" if is_later else part)
        document = document[int(part)] if isinstance(document, list) else document[part]
    return tuple(found)


def _add_ending(
    pieces: Pieces, ending: Ending, stream: dict[str, Any], notes: dict[str, str]
) -> None:
    if pieces.done and pieces.done != "[DONE]":
        stream["done"] = pieces.done
    if ending.reason is not None:
        stream["finish_reason"] = pointer(ending.reason)
        if ending.words:
            stream["finish_reasons"] = ending.words
        if ending.unfinished:
            stream["unfinished"] = ending.unfinished
    for name, place in ending.counts.items():
        stream[name] = pointer(place)
    for name, place in ending.ids.items():
        stream[name] = pointer(place)
    is_marked = ending.reason or pieces.done or "end" in stream.get("kinds", {}).values()
    if is_marked and not pieces.is_one:
        stream["ends"] = "finish_reason"
        notes["ends"] = "an answer without it was cut off"


_ERRORS = {
    "error": ("/error/message", "/error"),
    "error_message": ("/message", "/msg", "/detail"),
    "error_code": ("/error/code", "/error/type", "/code"),
}


def _add_errors(pieces: Pieces, stream: dict[str, Any]) -> None:
    """Add the usual places of errors, unless something else is there."""
    if pieces.framing.name in ("text", "sse-text"):
        return
    above = "/data" if pieces.framing.name == "sse-events" else ""
    filled = {pointer(p) for document in pieces.documents for p, v in leaves(document) if v}
    used = [p for name in ("text", "reasoning", "kind") if isinstance(p := stream.get(name), str)]
    for name, places in _ERRORS.items():
        free = [
            place
            for place in (above + p for p in places)
            if not any(_is_in(p, place) or _is_in(place, p) for p in used)
            and not (name == "error" and any(_is_in(p, place) for p in filled))
        ]
        if free:
            stream[name] = free if len(free) > 1 else free[0]


def _is_in(place: str, above: str) -> bool:
    return f"{place}/".startswith(f"{above}/")
