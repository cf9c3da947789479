"""The record of a stored response, and the interface of its storage engine."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class Record(msgspec.Struct, frozen=True):
    """A stored response. Only its own tenant may see it.

    Attributes:
        id: its id.
        tenant: the id of the client's key; `""` at a gateway without keys.
        previous: the id of the response that it continues; `""` if it starts a conversation.
        input: the items that were sent for it, as JSON.
        response: the response itself, as JSON.
        item_ids: the ids of all items in both.
    """

    id: str
    tenant: str
    previous: str
    input: bytes
    response: bytes
    item_ids: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return len(self.input) + len(self.response)

    def items(self) -> list[dict[str, Any]]:
        """Return its input and its output."""
        output = msgspec.json.decode(self.response)["output"]
        return [*msgspec.json.decode(self.input), *output]


USED_TWICE = "a service has used its id twice; it cannot be continued"


class Engine(Protocol):
    """Stores records. Each method may block: all are called from one thread.

    Each raises OSError if the store fails.
    """

    def put(self, record: Record) -> None:
        """Store a record; over the limits, remove the oldest of the largest tenant first.

        If its tenant has one with this id, which another process has stored, neither is found from
        now on: to continue one might continue the other.
        """
        ...

    def get(self, tenant: str, id: str) -> Record | None:
        """Return a record and renew its expiry; `None` if there is none."""
        ...

    def find(self, tenant: str, item_id: str) -> Record | None:
        """Return a record that has the item."""
        ...

    def delete(self, tenant: str, id: str) -> bool:
        """Delete a record; return whether there was one."""
        ...

    def close(self) -> None:
        """Release the store."""
        ...
