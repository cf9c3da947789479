"""The table `[conversations]` of a recipe: how a service keeps its conversations."""

from __future__ import annotations

from typing import Literal

import msgspec


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
