"""Answers of a cache in Redis, for all processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from berlin.providers.contract import Burst
from berlin.routing.shared.server import PREFIX, SharedRedis
from berlin.types import Finished, StreamEvent

MAX_BYTES = 1024 * 1024

_LOAD = """
local held = redis.pcall('GET', KEYS[1])
if type(held) ~= 'string' then return {'', 0} end
return {held, redis.call('PTTL', KEYS[1])}
"""
_SAVE = "return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])"

_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(StreamEvent)}


class SharedAnswers:
    """Stores answers as received, with an expiry. The age is measured by Redis's clock.

    Args:
        redis: the Redis.
        keep_s: seconds that an answer stays valid.
    """

    def __init__(self, redis: SharedRedis, keep_s: float) -> None:
        self._redis = redis
        self._keep_ms = max(round(keep_s * 1000), 1)

    async def load(self, key: str) -> tuple[Sequence[Burst], float] | None:
        """Return an answer and its age in seconds, if there is a fresh one."""
        reply = await self._redis.run(_LOAD, (_name(key),), ())
        if reply is None or not reply[0]:
            return None
        data, left_ms = reply
        try:
            bursts = decode_bursts(data)
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
            return None  # from another release, or not Berlin's
        return bursts, max(self._keep_ms - left_ms, 0) / 1000

    def save(self, key: str, bursts: Sequence[Burst]) -> None:
        """Store an answer, unless it is too large."""
        try:
            data = encode_bursts(bursts)
        except (TypeError, ValueError):
            return
        if len(data) <= MAX_BYTES:
            self._redis.begin(self._redis.run(_SAVE, (_name(key),), (data, self._keep_ms)))


def encode_bursts(bursts: Sequence[Burst]) -> bytes:
    """Return an answer as bytes."""
    return msgspec.msgpack.encode(
        [[[type(event).__name__, event] for event in burst] for burst in bursts]
    )


def decode_bursts(data: bytes) -> tuple[Burst, ...]:
    """Return an answer. Members of events that a later release has added are dropped.

    Raises:
        MsgspecError: if it is not one.
        KeyError: if it has an unknown event.
    """
    tree = msgspec.msgpack.decode(data, type=list[list[tuple[str, Any]]])
    bursts = tuple([_event(kind, members) for kind, members in burst] for burst in tree)
    if not bursts or not all(bursts) or type(bursts[-1][-1]) is not Finished:
        raise ValueError("the answer has no end")
    return bursts


def _event(kind: str, members: Any) -> StreamEvent:
    event: StreamEvent = msgspec.convert(members, _KINDS[kind])
    return event


def _name(key: str) -> str:
    return f"{PREFIX}answer:{key}"
