"""The heads of conversations in Redis: shared by all replicas of a gateway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from berlin.routing.conversations.store import EXPIRE_S, Head
from berlin.transport.redis import open_redis
from berlin.types import Secret

OPERATION_TIMEOUT_S = 0.6
PREFIX = "berlin:conversation:"

_log = logging.getLogger("berlin.conversations")
_decode = msgspec.json.Decoder(Head).decode
_encode = msgspec.json.Encoder().encode


class RedisHeads:
    """A list for each fingerprint, with an expiry; taking from it is atomic across replicas.

    A Redis that cannot be used costs only the continuation, not the answer: the turn starts a new
    conversation.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with its password.
        expire_s: seconds after which a head is deleted.

    Raises:
        ConfigurationError: if the extra is not installed, or the URL is invalid.
    """

    def __init__(self, url: Secret, expire_s: float = EXPIRE_S) -> None:
        self._expire_ms = max(int(expire_s * 1000), 1)
        self._redis, errors = open_redis(url, OPERATION_TIMEOUT_S, "conversations.store")
        self._errors = (errors, OSError, msgspec.DecodeError)

    async def take(self, key: str, *, keep: bool) -> Head | None:
        """Return the latest head with this fingerprint; see `Heads`."""

        def take() -> Head | None:
            found = self._redis.lindex(PREFIX + key, 0) if keep else self._redis.lpop(PREFIX + key)
            return _decode(found) if found is not None else None

        return await self._run(take)

    async def put(self, key: str, head: Head) -> None:
        """Store a head; see `Heads`."""

        def put() -> None:
            with self._redis.pipeline() as steps:
                steps.lpush(PREFIX + key, _encode(head))
                steps.pexpire(PREFIX + key, self._expire_ms)
                steps.execute()

        await self._run(put)

    async def aclose(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._redis.close)

    async def _run(self, step: Callable[[], Head | None] | Callable[[], None]) -> Head | None:
        try:
            return await asyncio.to_thread(step)
        except self._errors as error:
            _log.warning("conversations_redis_failed", extra={"error": type(error).__name__})
            return None
