"""The table `[conversations]` of a recipe: how a service keeps its conversations."""

from __future__ import annotations

from typing import Literal

import msgspec


class KeepingMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[conversations]`: with it, a client's next turn continues the same conversation.

    Only what is new is sent then. A history that differs from what the service has seen in any
    way begins a new conversation, with all of it.

    Attributes:
        id: who names a conversation: `service`, in its answer (`conversation_id` in
            `[chat.stream]`); `client`: Berlin makes up an id and sends it.
        branches: whether `{parent_id}` may name any earlier answer, so that an edited turn
            continues from there; else only the last turn of a conversation can be continued.
    """

    id: Literal["service", "client"] = "service"
    branches: bool = False
