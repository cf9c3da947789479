"""Where the ends of conversations are kept: fingerprints and the service's ids, never a word."""

from __future__ import annotations

from typing import Protocol

import msgspec

EXPIRE_S = 24 * 3600.0
MAX_COUNT = 10_000


class Head(msgspec.Struct, frozen=True):
    """Where a conversation can be continued.

    Attributes:
        conversation_id: the service's id of it.
        message_id: its id of the last answer; `""` if it has none.
    """

    conversation_id: str
    message_id: str = ""


class Heads(Protocol):
    """The ends of conversations, by fingerprint. Several may have the same: equal histories."""

    async def take(self, key: str, *, keep: bool) -> Head | None:
        """Return the latest end with this fingerprint; without `keep` nobody else gets it."""
        ...

    async def put(self, key: str, head: Head) -> None:
        """Keep an end for a while."""
        ...

    async def aclose(self) -> None:
        """Let go of files and connections."""
        ...
