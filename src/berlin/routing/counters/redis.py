"""Counters on Redis, which fill those of its counts that it has lost."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from berlin.routing.base.clock import Clock
from berlin.routing.counters.contract import Claim
from berlin.routing.counters.remote import Counted, RemoteReply, Shape
from berlin.routing.counters.scripts import BEAT, LOOK, RESERVE, SETTLE
from berlin.routing.shared.server import PREFIX, SERVER, SharedRedis

_OWNERS = f"{PREFIX}owners"
_KEPT_LONGER_S = 3600.0
_MAX_SEEN = 10_000
_MISSING = -2
ATTEMPTS = 2


class RedisCounters:
    """Counters on Redis.

    Each call tells Redis what this process saw of its counters last. From that Redis restores
    those that it has lost.

    Args:
        redis: the Redis.
        clock: seconds since the epoch.
    """

    def __init__(self, redis: SharedRedis, clock: Clock = time.time) -> None:
        self._redis = redis
        self._clock = clock
        self._ahead_s = 0.0
        self._seen: dict[str, list[int]] = {}

    @property
    def rests(self) -> bool:
        """Whether it failed a moment ago and is not used for now."""
        return self._redis.rests

    def now(self) -> float:
        """Return the server's time, as far as known."""
        return self._clock() + self._ahead_s

    async def reserve(self, id: str, owner: str, claims: Sequence[Claim]) -> RemoteReply | None:
        """Reserve; see `Remote`."""
        before: dict[str, int] = {}
        for _ in range(ATTEMPTS + len(claims)):
            shapes = [Shape.of(claim, self.now()) for claim in claims]
            keys, sent = self._encode(claims, shapes, before=before)
            reply = await self._redis.run(RESERVE, keys, (id, owner, sent))
            if reply is None:
                return None
            now_ms, owners, refused, wait_ms, seen = reply
            self._ahead_s = now_ms / 1000 - self._clock()
            if refused >= 0:
                self._remember(claims, shapes, seen)
                index = refused - 1 if refused else None
                used = tuple(total for _, _, total in seen)
                return RemoteReply(now_ms / 1000, owners, used, index, wait_ms / 1000)
            if refused == _MISSING:
                claim, shape = claims[wait_ms - 1], shapes[wait_ms - 1]
                if claim.before is not None:
                    before[shape.name(claim.counter)] = await claim.before(shape.begins)
            # Or its clock is in another period, which the next attempt names.
        return None

    async def settle(
        self,
        id: str,
        claims: Sequence[Claim],
        amounts: Sequence[int | None],
        at: float,
        counted: Counted = "yes",
    ) -> bool:
        """Replace reserved amounts; see `Remote`."""
        shapes = [Shape.of(claim, at) for claim in claims]
        since = {"yes": at, "maybe": math.inf, "no": -1.0}[counted]
        keys, sent = self._encode(claims, shapes, since)
        given = json.dumps([-1 if amount is None else amount for amount in amounts])
        seen = await self._redis.run(SETTLE, keys, (id, given, sent))
        if seen is None:
            return False
        self._remember(claims, shapes, seen)
        return True

    async def beat(self, owner: str) -> bool:
        """Report that a process is alive; see `Remote`."""
        return await self._redis.run(BEAT, (_OWNERS,), (owner,)) is not None

    async def works(self) -> bool:
        """Return whether Redis can be used."""
        return await self._redis.run(LOOK, (_OWNERS,), ()) is not None

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._redis.aclose()

    def _encode(
        self,
        claims: Sequence[Claim],
        shapes: Sequence[Shape],
        since: float = 0.0,
        before: Mapping[str, int] = {},
    ) -> tuple[list[str], str]:
        """Return the keys and the claims of a script."""
        keys, sent = [_OWNERS, SERVER], []
        for claim, shape in zip(claims, shapes, strict=True):
            name = shape.name(claim.counter)
            keys += [f"{PREFIX}count:{name}", f"{PREFIX}count:{name}:slots"]
            one = _encode(claim, shape)
            one["since"] = round(min(since, 1e12) * 1000)
            if name in self._seen:
                one["seen"] = self._seen[name]
            elif name in before:
                one["before"] = before[name]
            elif claim.before is not None:
                one["asks"] = True
            sent.append(one)
        return keys, json.dumps(sent)

    def _remember(
        self, claims: Sequence[Claim], shapes: Sequence[Shape], seen: Sequence[list[int]]
    ) -> None:
        for claim, shape, found in zip(claims, shapes, seen, strict=True):
            name = shape.name(claim.counter)
            known = self._seen.pop(name, None)
            # Answers may overtake each other.
            self._seen[name] = found if known is None or found >= known else known
        while len(self._seen) > _MAX_SEEN:
            del self._seen[next(iter(self._seen))]


def _encode(claim: Claim, shape: Shape) -> dict[str, Any]:
    left_s = max(shape.ends - shape.begins, shape.span_s)
    return {
        "limit": claim.limit,
        "amount": claim.amount,
        "kept": claim.kept,
        "overdraw": claim.overdraw,
        "span": round(shape.span_s * 1000),
        "width": max(shape.width_s * 1000, 1),
        "begins": round(shape.begins * 1000),
        "ends": round(shape.ends * 1000),
        "keep": round((left_s + _KEPT_LONGER_S) * 1000),
    }
