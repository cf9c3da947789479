"""The interface for storing conversation heads: fingerprints and the service's ids, never text."""

from __future__ import annotations

from typing import Protocol

import msgspec

EXPIRE_S = 24 * 3600.0
MAX_COUNT = 10_000


class Head(msgspec.Struct, frozen=True):
    """A point at which a conversation can be continued.

    Attributes:
        conversation_id: the service's id of it.
        message_id: its id of the last answer; `""` if it has none.
    """

    conversation_id: str
    message_id: str = ""


class Heads(Protocol):
    """The heads of conversations, by fingerprint. Equal histories have the same fingerprint."""

    async def take(self, key: str, *, keep: bool) -> Head | None:
        """Return the latest head with this fingerprint; without `keep` it is removed."""
        ...

    async def put(self, key: str, head: Head) -> None:
        """Store a head for a while."""
        ...

    async def aclose(self) -> None:
        """Release files and connections."""
        ...
