"""The time that Redis has to answer, in tests that are not about it.

On a busy machine Berlin would go on without it after a moment, as documented.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Give each operation of clients that are made during the block so much time."""
    from berlin.auth.tokens import redis_store
    from berlin.gateway.stored import redis as responses
    from berlin.routing.conversations import redis as conversations
    from berlin.routing.shared import server

    with ExitStack() as until:
        for module in (redis_store, responses, conversations, server):
            until.enter_context(patch.object(module, "OPERATION_TIMEOUT_S", seconds))
        until.enter_context(patch.object(redis_store.RedisStore, "timeout_s", 2 * seconds))
        yield
