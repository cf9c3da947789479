"""Finds tool calls in streaming text: an automaton without I/O."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

import msgspec

MAX_NAME_CHARS = 128
MAX_INDENT = 3
MIN_TICKS = 3


class FoundCall(msgspec.Struct, frozen=True):
    """A block named after a tool.

    Attributes:
        name: the tool's name, as written.
        body: its contents, stripped.
        whole: whether the block was closed after one JSON object, or was empty.
    """

    name: str
    body: str
    whole: bool


Found: TypeAlias = str | FoundCall
_Line: TypeAlias = Literal["call", "maybe", "text"]
_State: TypeAlias = Literal["before", "object", "after", "broken"]

_FENCE = re.compile(r"( *)(`{3,}|~{3,})([^\n]*)")
# The characters that matter when scanning JSON.
_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'["\\]')
_BARE = re.compile(r"^ {0,3}`{3,}[ \t\r]*$", re.MULTILINE)


class Scanner:
    """Extracts calls from an answer, at any chunk boundaries.

    A call is a block whose first line is `fence` and a name, at the start of a line and outside
    of any other block. It ends at the fence after a complete JSON object, so a fence inside a
    string argument does not end it. Text is held back only while it may become such a block; white
    space next to a call is dropped.

    Args:
        fence: what precedes the name, after the backticks.
    """

    def __init__(self, fence: str) -> None:
        self._fence = fence
        self._blocks: list[str] = []  # the fences of the open ordinary blocks, outermost first
        self._line = ""  # the line so far, outside of calls
        self._given = 0  # how much of it was passed on
        self._blank = ""  # blanks that are text only if text follows
        self._after_call = False
        self._call: _Body | None = None
        self._quoted = False
        self._found: list[Found] = []

    @property
    def is_swallowed(self) -> bool:
        """Whether a call is inside an ordinary block that was never closed."""
        return self._quoted and bool(self._blocks)

    def feed(self, text: str) -> list[Found]:
        """Take the next piece, and return what it completes."""
        self._feed(text)
        return self._take()

    def finish(self) -> list[Found]:
        """Take the end of the answer, and return what is left."""
        while self._call is not None:
            body, rest = self._call.cut()
            self._end_call(body)
            self._feed(rest)
        self._end_line()
        if self._blank:
            self._found.append(self._blank)
        return self._take()

    def _take(self) -> list[Found]:
        found, self._found = self._found, []
        return found

    def _feed(self, text: str) -> None:
        while text:
            text = self._in_text(text) if self._call is None else self._in_call(self._call, text)

    def _in_text(self, text: str) -> str:
        """Take text up to the end of a line or the start of a call; return the rest."""
        piece, end, rest = text.partition("\n")
        self._line += piece
        kind: _Line = "text"
        if not self._given and not self._blocks:
            kind = _classify(self._line, self._fence, is_whole=bool(end))
        if kind == "call":
            info = self._line.lstrip(" ")
            ticks = len(info) - len(info.lstrip("`"))
            name, body = _split_name(info[ticks:].lstrip(" ")[len(self._fence) :])
            self._call = _Body(name, ticks)
            self._line, self._blank = "", ""
            return body + end + rest
        if end:
            self._end_line()
            self._give(end)
        elif kind == "text":
            self._give(self._line[self._given :])
            self._given = len(self._line)
        return rest

    def _end_line(self) -> None:
        """Pass on the rest of the line, and record whether it opens or closes an ordinary block."""
        line = _FENCE.fullmatch(self._line)
        if self._blocks and _classify(self._line, self._fence, is_whole=True) == "call":
            self._quoted = True
        if line is not None and len(line[1]) <= MAX_INDENT:
            fence, info = line[2], line[3].strip()
            top = self._blocks[-1] if self._blocks else ""
            # A shorter fence than the one around it is content. A block within a block is not
            # what Markdown says, but what models write when they quote one.
            if top and not info and fence.startswith(top):
                self._blocks.pop()
                self._quoted = self._quoted and bool(self._blocks)
            elif "`" not in info and fence.startswith(top):
                self._blocks.append(fence)
        self._give(self._line[self._given :])
        self._line, self._given = "", 0

    def _give(self, text: str) -> None:
        text = self._blank + text
        if self._after_call:
            text = text.lstrip()
        kept = text.rstrip()
        self._blank = text[len(kept) :]
        if kept:
            self._after_call = False
            self._found.append(kept)

    def _in_call(self, body: _Body, text: str) -> str:
        rest = body.feed(text)
        if body.is_closed:
            self._end_call(body)
        return rest

    def _end_call(self, body: _Body) -> None:
        self._found.append(FoundCall(body.name, body.text, body.is_whole))
        self._call = None
        self._blank, self._after_call = "", True


def _classify(line: str, fence: str, *, is_whole: bool) -> _Line:
    """Return whether a line, or its beginning, is the first line of a call."""
    bare = line.lstrip(" ")
    info = bare.lstrip("`")
    ticks = len(bare) - len(info)
    if len(line) - len(bare) > MAX_INDENT:
        return "text"
    if not info.strip(" "):
        return "text" if is_whole or (info and ticks < MIN_TICKS) else "maybe"
    info = info.lstrip(" ")
    if ticks < MIN_TICKS:
        return "text"
    if not info.startswith(fence):
        return "maybe" if not is_whole and fence.startswith(info) else "text"
    name, body = _split_name(info[len(fence) :])
    if "`" in name or len(name) > MAX_NAME_CHARS:
        return "text"
    return "call" if is_whole or body.strip() else "maybe"


def _split_name(text: str) -> tuple[str, str]:
    """Return the name at the start of a text, and the rest."""
    for n, char in enumerate(text):
        if char.isspace() or char == "{":
            return text[:n], text[n:]
    return text, ""


class _Body:
    """The inside of a call: a JSON object up to the fence after it.

    Args:
        name: the tool's name.
        ticks: the number of backticks that opened the block.
    """

    def __init__(self, name: str, ticks: int) -> None:
        self.name = name
        self.is_closed = False
        self._ticks = ticks
        self._parts: list[str] = []
        self._state: _State = "before"
        self._depth = 0
        self._in_string = self._escaped = False
        self._closing = 0
        self._line = ""  # the line so far, where only a fence on its own line ends the block

    @property
    def is_whole(self) -> bool:
        """Whether the block was closed after one JSON object, or was empty."""
        return self.is_closed and self._state != "broken"

    @property
    def text(self) -> str:
        """The contents."""
        text = "".join(self._parts).strip()
        return text.rstrip("`").strip() if self.is_closed else text

    def feed(self, text: str) -> str:
        """Take the next piece; return what follows the end of the block."""
        at = 0
        while at < len(text) and not self.is_closed:
            match self._state:
                case "before" | "after":
                    at = self._between(text, at)
                case "object":
                    at = self._inside(text, at)
                case "broken":
                    at = self._broken(text, at)
        self._parts.append(text[:at])
        return text[at:]

    def cut(self) -> tuple[_Body, str]:
        """Return the block as it is at the end of the answer, and the text after it."""
        if self._closing >= self._ticks or _BARE.fullmatch(self._line):
            self.is_closed = True
            return self, ""
        text = "".join(self._parts)
        end = _BARE.search(text)
        if end is None:
            return self, ""
        # A string was never closed: the block ends where it seems to.
        body = _Body(self.name, self._ticks)
        body._parts = [text[: end.start()]]
        return body, text[end.end() :]

    def _between(self, text: str, at: int) -> int:
        """Scan outside the object: white space, its start, or the fence."""
        char = text[at]
        if char == "`":
            self._closing += 1
            return at + 1
        if self._closing >= self._ticks:
            self.is_closed = True
            return at
        if char.isspace() and not self._closing:
            return at + 1
        if char == "{" and self._state == "before" and not self._closing:
            self._state, self._depth = "object", 1
            return at + 1
        self._state = "broken"
        # The rest of this line cannot be a fence on a line of its own.
        self._line = "x"
        return at

    def _inside(self, text: str, at: int) -> int:
        if self._escaped:
            self._escaped = False
            return at + 1
        mark = (_INSIDE if self._in_string else _OUTSIDE).search(text, at)
        if mark is None:
            return len(text)
        match mark[0]:
            case "\\":
                self._escaped = True
            case '"':
                self._in_string = not self._in_string
            case "{" | "[":
                self._depth += 1
            case _:
                self._depth -= 1
                self._state = "object" if self._depth else "after"
        return mark.end()

    def _broken(self, text: str, at: int) -> int:
        end = text.find("\n", at)
        self._line += text[at:] if end < 0 else text[at:end]
        if end < 0:
            return len(text)
        self.is_closed = _BARE.fullmatch(self._line) is not None
        self._line = ""
        return end if self.is_closed else end + 1
