"""Why the answer to a chat gave no text or did not end well: what `[chat.stream]` should say."""

from __future__ import annotations

import itertools
from typing import Any

from berlin.errors import (
    BerlinError,
    ProtocolError,
    TruncatedStreamError,
    UpstreamTimeoutError,
)
from berlin.language.tables.stream import StreamMap
from berlin.recipes.recipe import Recipe
from berlin.types import HttpResponse
from berlin.wire.framings import FRAMINGS, FramingName, RecognisedAnswer, recognise
from berlin.wire.pointer import MISSING
from berlin.wire.snippet import snippet
from berlin.workbench.draft.answer import candidates, is_error
from berlin.workbench.draft.documents import formats_with_text
from berlin.workbench.draft.leaves import Place, last_name, leaves, pointer
from berlin.workbench.draft.marks import KIND_NAMES, REASONS
from berlin.workbench.parts import POINTERS, Hint, documents, found_at, listed

MAX_KINDS = 6  # more words than that are not kinds


def diagnose_answer(recipe: Recipe, answer: HttpResponse, error: BerlinError | None) -> list[Hint]:
    """Return the probable mistakes in how a recipe reads the answer to a chat, a success."""
    looks = recognise(answer.body)
    if looks.is_page:
        return [Hint(("chat", "path"), "the answer is a web page: the path is not the API's")]
    if looks.framing is None:
        return [] if error is None else [Hint(("chat",), "the answer has no body at all")]
    stream = recipe.chat.described_stream
    is_unread = isinstance(error, ProtocolError | UpstreamTimeoutError)
    if stream is None:
        return [] if error is None else _other_format(recipe, answer.body, is_unread)
    # Names that are not read leave no text, but also hide what an error says.
    has_names = error is not None and looks.framing.name == "sse-events"
    if (is_unread or has_names) and not fits(stream, looks, answer.body):
        return [_hint("framing", _other_framing(stream, looks.framing.name, answer.body))]
    read = _Answer(stream, documents(stream, answer.body))
    if not read.has_text and (is_unread or (error is None and stream.kind)):
        is_of_kinds = stream.kind and read.documents
        return [read.no_text_of_kinds()] if is_of_kinds else read.no_text()
    if isinstance(error, TruncatedStreamError | UpstreamTimeoutError):
        return [read.no_end(error)]
    if is_unread and looks.read.done not in ("", stream.done):
        return [
            _hint("done", f'the answer ends with another mark: write done = "{looks.read.done}"')
        ]
    if isinstance(error, ProtocolError):
        return read.undescribed()
    return read.unread() if error is None else []


def fits(stream: StreamMap, looks: RecognisedAnswer, body: bytes) -> bool:
    """Return whether a framing can decode a body that looks like this."""
    framing: FramingName = stream.framing
    if looks.framing is None:
        return False
    if looks.framing.name == "sse":  # event names may be read too
        return framing in ("sse", "sse-events")
    if looks.framing.name == "sse-events" and framing == "sse":
        return bool(stream.kind)  # the objects may repeat the names
    if looks.framing.name == "json" and framing == "ndjson":
        return b"\n" not in body.strip()  # one object is also one line of objects
    return framing == looks.framing.name


def _hint(key: str, why: str) -> Hint:
    return Hint(("chat", "stream", key), why)


def _other_framing(stream: StreamMap, looks: str, body: bytes) -> str:
    why = f'the answer begins with "{snippet(body, 40)}": that is framing = "{looks}", '
    why += f'not "{stream.framing}"'
    if looks == "sse-events":
        why += ", since the events have names; then pointers begin with /event or /data"
    return why


def _other_format(recipe: Recipe, body: bytes, is_unread: bool) -> list[Hint]:
    """Return the built-in format of the answer, if it is not the one the recipe names."""
    found = formats_with_text(body)
    if recipe.chat.format in found or not (found or is_unread):
        return []
    why = f"the answer is not of the format {recipe.chat.format}: describe it in [chat.stream]"
    if found:
        why = f'the answer looks like format = "{found[0]}"'
    return [Hint(("chat", "format"), why)]


class _Answer:
    """The documents of an answer, and how a recipe reads them."""

    def __init__(self, stream: StreamMap, documents: list[Any]) -> None:
        self.documents = documents
        self._stream = stream
        self._where = " or ".join(listed(stream.text)) or "/data"
        self._said = [document for document in documents if self._is_text(document)]
        self._texts = [found_at(stream.text or "/data", document) for document in self._said]
        self.has_text = any(isinstance(text, str) for text in self._texts)

    def _is_text(self, document: Any) -> bool:
        kinds = self._stream.kinds
        kind = found_at(self._stream.kind or "", document) if self._stream.kind else MISSING
        return kind is MISSING or kinds.get(str(kind)) in ("text", "replace", "final")

    def no_text(self) -> list[Hint]:
        """Say where the text is instead."""
        wrong = next((value for value in self._texts if value is not MISSING), MISSING)
        if wrong is not MISSING:
            below = [f"{self._where}{pointer(p)}" for p, v in leaves(wrong) if isinstance(v, str)]
            kind = "an object" if isinstance(wrong, dict) else f"a {type(wrong).__name__}"
            why = f"{self._where} has {kind}, not text"
            return [_hint("text", why + (f"; there is text at {below[0]}" if below else ""))]
        errors = [pointer(p) for d in self.documents for p, v in leaves(d) if v and is_error(p)]
        if errors and not self._stream.error:
            why = "the service reports an error that the recipe does not name: write error = "
            return [_hint("error", f'{why}"{errors[0]}"')]
        if texts := text_pointers(self.documents):
            why = f"there is nothing at {self._where}, but text at {' or '.join(texts[:3])}"
            return [_hint("text", why)]
        if not self.documents:
            why = f'the answer contains no objects with framing = "{self._stream.framing}"'
            return [_hint("framing", why)]
        why = (
            f"there is nothing at {self._where}; the first object has {outline(self.documents[0])}"
        )
        return [_hint("text", why)]

    def no_text_of_kinds(self) -> Hint:
        """Say which kinds are not listed, or which pointer is wrong."""
        stream = self._stream
        if texts := text_pointers(self._said):
            why = f"objects of the kinds for text came, with nothing at {self._where}"
            return _hint("text", f"{why}, but text at {' or '.join(texts[:3])}")
        kinds = [found_at(stream.kind or "", document) for document in self.documents]
        unlisted = sorted({str(kind) for kind in kinds if kind is not MISSING} - {*stream.kinds})
        if not unlisted:
            first = outline(self.documents[0])
            return _hint("kind", f"no object has a kind at {stream.kind}; the first has {first}")
        why = "these kinds of objects came that are not listed, and so skipped: "
        return _hint("kinds", why + ", ".join(unlisted))

    def no_end(self, error: BerlinError) -> Hint:
        """Say what may mark the end."""
        reasons = reason_pointers(self.documents)
        if isinstance(error, UpstreamTimeoutError):
            why = "text came, but no end that the recipe knows: name in `done`, `kinds` or "
            why += "`finish_reason` with what the service ends an answer"
            key = "done" if FRAMINGS[self._stream.framing].has_events else "finish_reason"
            return _hint(key, why + (f" ({reasons[0]}?)" if reasons else ""))
        if not reasons:
            why = "the answer ends without a finish reason: if that is its way, write "
            return _hint("ends", why + 'ends = "body"')
        return self._no_reason(reasons)

    def undescribed(self) -> list[Hint]:
        """Find an object in which the recipe describes nothing."""
        for document in self.documents:
            keys = (getattr(self._stream, key) for key in POINTERS if key != "kind")
            if all(found_at(key, document) is MISSING for key in keys):
                why = f"an object with {outline(document)} is not described: name what counts in "
                return [_hint("others", why + 'it, or write others = "skip"')]
        return []

    def unread(self) -> list[Hint]:
        """Say what an answer has that was read without an error, and without it."""
        texts = [text for text in self._texts if isinstance(text, str) and text]
        pairs = list(itertools.pairwise(texts))
        grows = all(later.startswith(earlier) for earlier, later in pairs)
        longer = sum(len(later) > len(earlier) for earlier, later in pairs)
        if self._stream.text_is == "delta" and grows and longer >= 2:
            why = 'each piece begins with the whole of the one before: write text_is = "cumulative"'
            return [_hint("text_is", why)]
        reason = self._stream.finish_reason
        if reason and all(found_at(reason, document) is MISSING for document in self.documents):
            return [self._no_reason(reason_pointers(self.documents))]
        return self._mixed_kinds()

    def _mixed_kinds(self) -> list[Hint]:
        """Say that text of several kinds was joined, such as a status and the answer."""
        if self._stream.kind or len(listed(self._stream.text)) != 1:
            return []
        kinds: dict[Place, dict[str, None]] = {}
        for document, text in zip(self._said, self._texts, strict=True):
            for place, word in leaves(document) if isinstance(text, str) and text else ():
                if len(place) <= 2 and last_name(place) in KIND_NAMES and isinstance(word, str):
                    kinds.setdefault(place, {})[word] = None
        for place, words in kinds.items():
            if 1 < len(words) <= MAX_KINDS:
                why = f"objects of several kinds have text ({', '.join(words)}). If only one is "
                why += f'the answer, write kind = "{pointer(place)}" and kinds = '
                return [_hint("kind", f'{why}{{ {[*words][-1]} = "text" }}')]
        return []

    def _no_reason(self, instead: list[str]) -> Hint:
        why = (
            f"there is nothing at {' or '.join(listed(self._stream.finish_reason)) or 'no pointer'}"
        )
        return _hint("finish_reason", why + (f", but a word at {instead[0]}" if instead else ""))


def text_pointers(received: list[Any]) -> list[str]:
    """Return where the text may be in the documents of an answer, the likeliest first.

    A piece of an answer differs from object to object; an id or a model's name does not.
    """
    found = candidates(received)
    # Others are unlikely, and would hide the likely one among them.
    return [pointer(each.place) for each in found if each.score * 2 > found[0].score]


def reason_pointers(received: list[Any]) -> list[str]:
    """Return where the finish reason may be, the likeliest first."""
    names: dict[Place, int] = {}
    for document in received[-3:]:
        for place, value in leaves(document):
            if last_name(place) in REASONS and value not in (None, "", False):
                names.setdefault(place, REASONS.index(last_name(place)))
    return [pointer(place) for place in sorted(names, key=lambda place: names[place])]


def outline(document: Any, limit: int = 8) -> str:
    """Return the structure of a document without its values."""
    pointers = [pointer(place) for place, _ in leaves(document) if place]
    shown = ", ".join(pointers[:limit])
    return f"{shown}, …" if len(pointers) > limit else shown or "nothing"
