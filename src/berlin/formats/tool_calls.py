"""Assembles the tool calls of an answer, whatever indexes and ids a service gives them.

The rule, for a piece with any of index, id, name and arguments:

1. Its id names an open call: it belongs to that call, whatever its index, unless it also names a
   tool and the index is not that call's, or the call's arguments are already complete: then the
   service reuses an id, and it begins a new call. (With the same index and the same arguments, it
   is the whole call again, and is ignored.)
2. Its index names a call (without an index: the last call). A piece without a name continues that
   call, even with another id. A piece with a name begins a new call, except that
   a. its name is the call's and the call's arguments are incomplete: the service repeats the name;
   b. it has an index but no other id than the call, which has no arguments yet: it is the next
      piece of the name, or, if it begins with what is known of the name, the name so far.
3. Anything else begins a new call.

A call is passed on once its name is complete, never without one: with its first arguments, before
the next call, or at the end. docs/tool-calls.md says which services need which part of this.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

from berlin.errors import ProtocolError
from berlin.types import AnswerLimit, Extra, MaybeExtra, StreamEvent, ToolCallDelta, merge_extra
from berlin.types.accumulate import EVENT_BYTES, PART_BYTES
from berlin.wire.json import DECODE_ERRORS, encode_line


class Arguments:
    """The arguments of a call while they arrive.

    Attributes:
        size: how many characters there are.
    """

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self.size = 0
        self._read = 0  # the pieces whose brackets were counted
        self._depth = 0
        self._in_text = False
        self._carried = ""  # a backslash at the end of a piece
        self._looks = 0

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def append(self, piece: str) -> None:
        """Take a piece."""
        self._pieces.append(piece)
        self.size += len(piece)

    @property
    def text(self) -> str:
        """All so far."""
        return "".join(self._pieces)

    @property
    def is_partial(self) -> bool:
        """Whether they have started and are incomplete.

        Each piece is read once, and the whole is decoded only where its brackets close, and only a
        few times: a service may send very many pieces.
        """
        for piece in self._pieces[self._read :]:
            text, self._carried = self._carried + piece, ""
            for mark in _MARKS.findall(text):
                if mark == "\\":
                    self._carried = mark
                elif mark == '"':
                    self._in_text = not self._in_text
                elif not self._in_text and mark in "{[]}":
                    self._depth += 1 if mark in "{[" else -1
        self._read = len(self._pieces)
        if self._depth or self._in_text or self._looks >= MOST_LOOKS:
            return True
        text = self.text
        self._looks += bool(text.strip())
        return bool(text.strip()) and not _is_json(text)


# Of JSON, what opens and closes; an escape counts as one, and a half one is a backslash.
_MARKS = re.compile(r'\\.|["{}\[\]\\]', re.DOTALL)
MOST_LOOKS = 16
MAX_NAME_CHARS = 4096


class _Call:
    """A call while it is assembled."""

    def __init__(self, index: int | None, id: str) -> None:
        self.index = index
        self.id = id
        self.number = -1  # until it is passed on
        self.name = ""
        self.arguments = Arguments()
        self.extras: list[Extra] = []

    @property
    def is_empty(self) -> bool:
        """Whether it has no arguments yet, or what some services send before they come."""
        # Whatever else is long is none of these.
        return self.arguments.size < 64 and self.arguments.text.strip() in ("", "{}", "null")

    def is_again(self, index: int | None, id: str, name: str, arguments: str) -> bool:
        """Whether a piece is this whole call once more."""
        if not (name and id and arguments) or index is None:
            return False
        same = (self.index, self.id, self.name) == (index, id, name)
        if not same or self.arguments.size != len(arguments):
            return False
        return self.arguments.text == arguments and _is_json(arguments)


class ToolCallAssembler:
    """Numbers the tool calls of an answer from 0 and finds the call of each piece.

    Attributes:
        count: how many calls were passed on.
    """

    def __init__(self) -> None:
        self.count = 0
        self._calls: list[_Call] = []
        self._by_id: dict[str, _Call] = {}
        self._by_index: dict[int, _Call] = {}
        self._ids: dict[str, None] = {}  # an empty set takes three times the memory
        self._limit = AnswerLimit(what="what the answer's tool calls say")

    @property
    def nameless(self) -> bool:
        """Whether there is a call with content but without a tool name."""
        return any(
            not call.name and (call.id or call.arguments.text.strip("{} \t\r\n"))
            for call in self._calls
        )

    def add(
        self,
        events: list[StreamEvent],
        index: int | None,
        id: str,
        name: str,
        arguments: str,
        extra: MaybeExtra = None,
    ) -> None:
        """Take a piece of a call and add the event for it, if the call's name is complete."""
        call = self._find(index, id, name, arguments)
        if call is None:
            self.flush(events)
            call = _Call(index, id)
            self._calls.append(call)
            self._limit.take(PART_BYTES)
        self._limit.take(EVENT_BYTES + len(id) + len(name) + len(arguments))
        if id:
            self._by_id.setdefault(id, call)
        if index is not None:
            self._by_index[index] = call
        if call.is_again(index, id, name, arguments):
            return
        call.id = call.id or id
        if arguments.strip() and not name and call.name and call.number < 0 and call.is_empty:
            call.arguments = Arguments()
            self._open(call, events)
        if call.number >= 0:
            call.arguments.append(arguments)
            if arguments or extra is not None:
                events.append(ToolCallDelta(call.number, "", "", arguments, extra))
            return
        if not call.arguments or not call.name:
            call.name = name if name.startswith(call.name) else call.name + name
            if len(call.name) > MAX_NAME_CHARS:
                raise ProtocolError(f"a tool's name is longer than {MAX_NAME_CHARS} characters")
        if arguments.strip() or call.arguments:
            call.arguments.append(arguments)
        if extra is not None:
            self._limit.take(len(str(extra.members)))
            call.extras.append(extra)
        if call.name and not call.is_empty:
            self._open(call, events)

    def add_whole(
        self,
        events: list[StreamEvent],
        id: str,
        name: str,
        arguments: str,
        extra: Extra | None = None,
    ) -> None:
        """Take a call that arrived in one piece: a new one, unless it is the same in everything."""
        known = self._by_id.get(id)
        if known is not None and known.name == name and known.arguments.text == arguments:
            return
        self._limit.take(PART_BYTES + len(id) + len(name) + len(arguments))
        call = _Call(None, id)
        if id:
            self._by_id.setdefault(id, call)
        call.name, call.extras = name, [extra] if extra is not None else []
        call.arguments.append(arguments)
        self.flush(events)
        self._calls.append(call)
        self.flush(events)

    def flush(self, events: list[StreamEvent]) -> None:
        """Add the event for the last call if its name is known: nothing more of it follows."""
        last = self._calls[-1] if self._calls else None
        if last is not None and last.name and last.number < 0:
            self._open(last, events)

    def _find(self, index: int | None, id: str, name: str, arguments: str) -> _Call | None:
        at_index = self._by_index.get(index) if index is not None else None
        known = self._by_id.get(id) if id else None
        if known is not None:
            if at_index is not None and at_index.id == id:
                known = at_index
            is_elsewhere = index is not None and known.index not in (None, index)
            # Nothing can follow complete arguments.
            is_behind = bool(arguments and known.arguments) and not known.arguments.is_partial
            is_again = known.is_again(index, id, name, arguments)
            is_new = bool(name and known.name) and (is_elsewhere or is_behind) and not is_again
            return None if is_new else known
        call = at_index
        if index is None and self._calls:
            call = self._calls[-1]
        if call is None:
            # Pieces of the one open call under another index: they cannot belong to anything else.
            last = self._calls[-1] if self._calls else None
            is_lost = last is not None and not name and not id and last.arguments.is_partial
            return last if is_lost else None
        if not name:
            is_next = bool(id) and index is None and bool(call.id) and not call.arguments.is_partial
            return None if is_next and call.arguments else call
        is_same = index is not None and not (id and call.id)
        is_its_name = is_same and not call.arguments and call.number < 0
        is_repeated = call.name == name and call.arguments.is_partial
        return call if not call.name or is_its_name or is_repeated else None

    def _open(self, call: _Call, events: list[StreamEvent]) -> None:
        call.number = self.count
        self.count += 1
        id = call.id if call.id and call.id not in self._ids else f"call_{call.number}"
        while id in self._ids:
            id = f"{id}_{call.number}"
        self._ids[id] = None
        arguments = call.arguments.text
        arguments = "{}" if arguments.strip() == "null" else arguments
        extra = merge_extra(*call.extras)
        events.append(ToolCallDelta(call.number, id, call.name, arguments, extra))


def arguments_object(arguments: str) -> Raw:
    """Return the arguments of a call as an object on one line, for APIs that have no text for them.

    Anything but a JSON object becomes `{"arguments": "…"}`, so that the program that runs the tool
    sees what the model wrote.
    """
    text = arguments.strip() or "{}"
    if not is_object(text):
        return Raw(encode_line({"arguments": arguments}))
    # JSON has line ends only between tokens.
    return Raw(text.replace("\r", " ").replace("\n", " ").encode())


def is_object(text: str) -> bool:
    """Whether a text is a complete JSON object."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except DECODE_ERRORS:
        return False


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except DECODE_ERRORS:
        return False
    return True
