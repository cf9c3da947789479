"""Why the answer to a chat gave no text or did not end well: what `[chat.stream]` should say."""

from __future__ import annotations

import itertools
import re
from typing import Any

from berlin.errors import (
    BerlinError,
    EmptyResponseError,
    ProtocolError,
    TruncatedStreamError,
    UpstreamTimeoutError,
)
from berlin.language.tables.stream import StreamMap
from berlin.recipes.recipe import Recipe
from berlin.types import HttpResponse
from berlin.wire.framings import FRAMINGS, recognise
from berlin.wire.pointer import MISSING
from berlin.workbench.draft.leaves import leaves, pointer
from berlin.workbench.hint import Hint
from berlin.workbench.parts import KNOWN_STREAMS, stream_of
from berlin.workbench.received import (
    documents,
    fits,
    found_at,
    listed,
    outline,
    reason_pointers,
    text_pointers,
)

_STREAM = ("chat", "stream")
_DESCRIBED = (
    *("text", "reasoning", "finish_reason", "input_tokens", "output_tokens", "tool_calls"),
    *("conversation_id", "message_id", "error", "error_message", "error_code"),
)


def diagnose_answer(recipe: Recipe, answer: HttpResponse, error: BerlinError | None) -> list[Hint]:
    """Return the probable mistakes in how a recipe reads the answer to a chat.

    Args:
        recipe: the recipe that was tried.
        answer: the part of the answer that was read; its status is a success.
        error: the error that ended the trial; `None` if it succeeded.
    """
    stream = stream_of(recipe)
    looks = recognise(answer.body)
    if looks.is_page:
        return [Hint(("chat", "path"), "the answer is a web page: the path is not the API's")]
    if looks.framing is None:
        return [] if error is None else [Hint(("chat",), "the answer has no body at all")]
    is_unread = isinstance(error, ProtocolError | UpstreamTimeoutError)
    if is_unread and not fits(stream.framing, looks, answer.body):
        return [_other_framing(recipe, stream, looks.framing.name, answer.body)]
    if error is not None and _has_unread_names(stream, answer.body):
        why = 'the events have names (`event: …`), which framing = "sse" does not read: write '
        why += 'framing = "sse-events"; then pointers begin with /event or /data'
        return [Hint((*_STREAM, "framing"), why)]
    received = documents(stream, answer.body)
    has_text = any(isinstance(found_at(stream.text or "/data", d), str) for d in received)
    if recipe.chat.format != "described":
        return [] if has_text or not is_unread else _other_format(recipe, answer.body)
    if not has_text and is_unread:
        return _no_text(stream, received)
    if not has_text and received and stream.kind and error is None:
        return [_no_text_of_kinds(stream, received)]
    return _other_mistakes(stream, received, error)


def _other_mistakes(
    stream: StreamMap, received: list[Any], error: BerlinError | None
) -> list[Hint]:
    """Return the mistakes when there is text where the recipe looks for it."""
    if isinstance(error, EmptyResponseError) and stream.kind:
        return [_no_text_of_kinds(stream, received)]
    if isinstance(error, TruncatedStreamError | UpstreamTimeoutError):
        return [_no_end(stream, received, error)]
    if isinstance(error, ProtocolError):
        return _undescribed(stream, received)
    if error is None and _repeats(stream, received):
        why = 'each piece begins with the whole of the one before: write text_is = "cumulative"'
        return [Hint((*_STREAM, "text_is"), why)]
    found = any(found_at(stream.finish_reason, d) is not MISSING for d in received)
    if error is None and stream.finish_reason and not found:
        return [_nothing_at(stream, "finish_reason", reason_pointers(received))]
    return []


def _other_framing(recipe: Recipe, stream: StreamMap, looks: str, body: bytes) -> Hint:
    begins = body[:40].decode("utf-8", "replace").strip()
    why = f"the answer begins with {begins!r}: that is framing = {looks!r}, not {stream.framing!r}"
    if recipe.chat.format == "described":
        return Hint((*_STREAM, "framing"), why.replace("'", '"'))
    return Hint(("chat", "format"), f"{why.replace(chr(39), chr(34))}: is it the right format?")


def _other_format(recipe: Recipe, body: bytes) -> list[Hint]:
    """Return the built-in format of the answer, if it is not the one the recipe names."""
    for name, stream in KNOWN_STREAMS.items():
        texts = (found_at(stream.text, d) for d in documents(stream, body))
        if name != recipe.chat.format and any(isinstance(text, str) for text in texts):
            return [Hint(("chat", "format"), f'the answer looks like format = "{name}"')]
    why = f"the answer is not of the format {recipe.chat.format}: describe it in [chat.stream]"
    return [Hint(("chat", "format"), why)]


def _no_text(stream: StreamMap, received: list[Any]) -> list[Hint]:
    where = " or ".join(listed(stream.text)) or "/data"
    texts = text_pointers(received)
    wrong = next((v for d in received if (v := found_at(stream.text, d)) is not MISSING), MISSING)
    if wrong is not MISSING:
        below = [f"{where}{pointer(p)}" for p, v in leaves(wrong) if isinstance(v, str)]
        kind = "an object" if isinstance(wrong, dict) else f"a {type(wrong).__name__}"
        why = f"{where} has {kind}, not text"
        return [Hint((*_STREAM, "text"), why + (f"; there is text at {below[0]}" if below else ""))]
    if texts:
        shown = " or ".join(texts[:3])
        return [Hint((*_STREAM, "text"), f"there is nothing at {where}, but text at {shown}")]
    if not received:
        why = f'the answer contains no objects with framing = "{stream.framing}"'
        return [Hint((*_STREAM, "framing"), why)]
    why = f"there is nothing at {where}; the first object has {outline(received[0])}"
    return [Hint((*_STREAM, "text"), why)]


def _repeats(stream: StreamMap, received: list[Any]) -> bool:
    """Return whether pieces read as new text contain all the text so far."""
    if stream.text_is != "delta":
        return False
    found = [found_at(stream.text or "/data", document) for document in received]
    texts = [text for text in found if isinstance(text, str) and text]
    pairs = list(itertools.pairwise(texts))
    grown = sum(len(later) > len(earlier) for earlier, later in pairs)
    return grown >= 2 and all(later.startswith(earlier) for earlier, later in pairs)


def _has_unread_names(stream: StreamMap, body: bytes) -> bool:
    """Return whether the events have distinguishing names that the framing drops."""
    names = set(re.findall(rb"^event: *(\S+)", body, re.MULTILINE))
    return stream.framing == "sse" and bool(names - {b"message"}) and not stream.kind


def _no_text_of_kinds(stream: StreamMap, received: list[Any]) -> Hint:
    """Return why objects with kinds gave no text: kinds that are not listed, or a wrong pointer."""
    kinds = [found_at(stream.kind or "", document) for document in received]
    unlisted = sorted({str(kind) for kind in kinds if kind is not MISSING} - {*stream.kinds})
    said = [d for d, kind in zip(received, kinds, strict=True) if _is_text(stream, kind)]
    texts = text_pointers(said)
    if said and texts:
        where = " or ".join(listed(stream.text)) or "/data"
        why = f"objects of the kinds for text came, with nothing at {where}"
        return Hint((*_STREAM, "text"), f"{why}, but text at {' or '.join(texts[:3])}")
    if not unlisted:
        why = f"no object has a kind at {stream.kind}; the first has {outline(received[0])}"
        return Hint((*_STREAM, "kind"), why)
    why = f"these kinds of objects came that are not listed, and so skipped: {', '.join(unlisted)}"
    return Hint((*_STREAM, "kinds"), why)


def _is_text(stream: StreamMap, kind: Any) -> bool:
    return stream.kinds.get(str(kind)) in ("text", "replace", "final")


def _no_end(stream: StreamMap, received: list[Any], error: BerlinError) -> Hint:
    reasons = reason_pointers(received)
    if isinstance(error, UpstreamTimeoutError):
        why = "text came, but no end that the recipe knows: name in `done`, `kinds` or "
        why += "`finish_reason` with what the service ends an answer"
        key = "done" if FRAMINGS[stream.framing].has_events else "finish_reason"
        return Hint((*_STREAM, key), why + (f" ({reasons[0]}?)" if reasons else ""))
    if not reasons:
        why = 'the answer ends without a finish reason: if that is its way, write ends = "body"'
        return Hint((*_STREAM, "ends"), why)
    return _nothing_at(stream, "finish_reason", reasons)


def _nothing_at(stream: StreamMap, key: str, instead: list[str]) -> Hint:
    where = " or ".join(listed(getattr(stream, key))) or "no pointer"
    why = f"there is nothing at {where}"
    return Hint((*_STREAM, key), why + (f", but a word at {instead[0]}" if instead else ""))


def _undescribed(stream: StreamMap, received: list[Any]) -> list[Hint]:
    for document in received:
        if any(found_at(getattr(stream, key), document) is not MISSING for key in _DESCRIBED):
            continue
        why = (
            f"an object with {outline(document)} is not described: name what counts in it, or "
            'write others = "skip"'
        )
        return [Hint((*_STREAM, "others"), why)]
    return []
