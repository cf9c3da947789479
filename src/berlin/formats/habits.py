"""Differences between services of one dialect, set by a recipe."""

from __future__ import annotations

import hashlib
import string

import msgspec

from berlin.language.tables.chat import ReasoningBack, StreamMode


class Habits(msgspec.Struct, frozen=True):
    """Differences between services of one dialect.

    Attributes:
        stream: whether to request streamed answers: `always`, `never`, or `as asked` by the client.
        developer_role: what the service calls the role `developer`.
        tool_id_length: if not 0, ids of tool calls must be this many letters and digits.
        text_content: whether a text-only message must be one string, never a list.
        reasoning_back: how the reasoning of earlier turns is sent back.
        cache_markers: whether Anthropic's markers of what to cache are taken.
    """

    stream: StreamMode = "always"
    developer_role: str = "system"
    tool_id_length: int = 0
    text_content: bool = False
    reasoning_back: ReasoningBack = "any"
    cache_markers: bool = False

    def streams(self, asked: bool) -> bool:
        """Return whether to request a streamed answer."""
        return self.stream == "always" or (self.stream == "as asked" and asked)

    def tool_id(self, id: str) -> str:
        """Return the id of a tool call in the form the service accepts; deterministic."""
        length = self.tool_id_length
        if not length or (len(id) == length and id.isascii() and id.isalnum()):
            return id
        number = int.from_bytes(hashlib.sha256(id.encode()).digest())
        return "".join(_LETTERS[(number // 62**n) % 62] for n in range(length))


_LETTERS = string.ascii_letters + string.digits

NO_HABITS = Habits()
