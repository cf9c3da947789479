"""The tables `[conversations]` and `[keep_alive]`: what a service keeps, and for how long."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class KeepAliveMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[keep_alive]`: a request that keeps a session from expiring while it is used.

    Attributes:
        path: what is requested, below the endpoint's URL, with the token.
        method: the HTTP method.
        json: its body, without placeholders.
        every_s: seconds between two of them.
        for_s: how long after the last chat they are sent.
    """

    path: str
    method: Literal["GET", "POST", "PUT"] = "GET"
    json: dict[str, Any] | None = None
    every_s: float = 240.0
    for_s: float = 1800.0

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise ValueError("path must begin with a slash")
        if not 1 <= self.every_s <= 86_400:
            raise ValueError("every_s must be from 1 to 86400 seconds")
        if not self.every_s <= self.for_s <= 7 * 86_400:
            raise ValueError("for_s must be from every_s to 604800 seconds")


class KeepingMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[conversations]`: with it, a client's next turn continues the same conversation.

    Only the new messages are sent then. A history that differs in any way from what the service has
    seen starts a new conversation with the whole history.

    Attributes:
        id: who assigns the conversation id: `service`, in its answer (`conversation_id` in
            `[chat.stream]`); `client`: Berlin generates an id and sends it.
        branches: whether `{parent_id}` may name any earlier answer, so that an edited turn
            continues from there; else only the last turn of a conversation can be continued.
    """

    id: Literal["service", "client"] = "service"
    branches: bool = False
