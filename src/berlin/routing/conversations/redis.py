"""The heads of conversations in Redis: shared by all replicas of a gateway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from berlin.routing.conversations.store import EXPIRE_S, Head
from berlin.routing.shared.blocking import BlockingRedis
from berlin.types import Secret

OPERATION_TIMEOUT_S = 0.6
PREFIX = "berlin:conversation:"

_log = logging.getLogger("berlin.conversations")
_decode = msgspec.json.Decoder(Head).decode
_encode = msgspec.json.Encoder().encode


class RedisHeads:
    """A list for each fingerprint, with an expiry; taking from it is atomic across replicas.

    A Redis that cannot be used costs only the continuation, not the answer: the turn starts a new
    conversation. One that does not answer is not used for a moment.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with its password.
        expire_s: seconds after which a head is deleted.

    Raises:
        ConfigurationError: if the extra is not installed, or the URL is invalid.
    """

    def __init__(self, url: Secret, expire_s: float = EXPIRE_S) -> None:
        self._expire_ms = max(int(expire_s * 1000), 1)
        self._redis = BlockingRedis(url, OPERATION_TIMEOUT_S, "conversations.store")

    async def take(self, key: str, *, keep: bool) -> Head | None:
        """Return the latest head with this fingerprint; see `Heads`."""

        def take(redis: Any) -> Head | None:
            found = redis.lindex(PREFIX + key, 0) if keep else redis.lpop(PREFIX + key)
            return _decode(found) if found is not None else None

        return await self._run(take)

    async def put(self, key: str, head: Head) -> None:
        """Store a head; see `Heads`."""

        def put(redis: Any) -> None:
            with redis.pipeline() as steps:
                steps.lpush(PREFIX + key, _encode(head))
                steps.pexpire(PREFIX + key, self._expire_ms)
                steps.execute()

        await self._run(put)

    async def aclose(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._redis.close)

    async def _run(self, step: Callable[[Any], Head | None]) -> Head | None:
        if self._redis.rests:  # without a turn to a thread
            return None
        try:
            return await asyncio.to_thread(self._redis.run, step)
        except (OSError, msgspec.DecodeError) as error:
            _log.warning("conversations_redis_failed", extra={"error": str(error)})
            return None
