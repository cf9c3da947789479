"""Counters on Redis, which fill those of its counts that it has lost."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from berlin.routing.base.background import Background
from berlin.routing.base.clock import Clock
from berlin.routing.counters.contract import SLOTS, Calendar, Claim, Running, Sliding, name_at
from berlin.routing.counters.remote import Owe, Owed, RemoteReply
from berlin.routing.counters.scripts import BEAT, REPORT, RESERVE, SETTLE
from berlin.routing.shared.server import PREFIX, SERVER, SharedRedis

_OWNERS = f"{PREFIX}owners"
_KEPT_LONGER_S = 3600.0
_MAX_SEEN = 10_000
_MISSING = -2
_REPORTED_TOGETHER = 100
ATTEMPTS = 2
CLOSE_S = 0.5


class RedisCounters:
    """Counters on Redis.

    Each call tells Redis what this process saw of its counters last. From that Redis restores
    those that it has lost. When another Redis answers than before, all of them are reported.

    Args:
        redis: the Redis.
        clock: seconds since the epoch.
    """

    def __init__(self, redis: SharedRedis, clock: Clock = time.time) -> None:
        self._redis = redis
        self._clock = clock
        self._ahead_s = 0.0
        self._seen: dict[str, tuple[Claim, list[int]]] = {}
        self._reported_to = ""
        self._background = Background()

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
            at = self.now()
            keys, sent = self._encode(claims, at, before=before)
            reply = await self._redis.run(RESERVE, keys, (id, owner, sent))
            if reply is None:
                return None
            now_ms, owners, refused, wait_ms, seen, held = reply
            self._ahead_s = now_ms / 1000 - self._clock()
            if refused >= 0:
                self._remember(claims, at, seen)
                index = refused - 1 if refused else None
                used = tuple(total for _, _, total in seen)
                return RemoteReply(now_ms / 1000, owners, used, index, wait_ms / 1000, held)
            if refused == _MISSING:
                claim = claims[wait_ms - 1]
                if claim.before is not None and isinstance(claim.window, Calendar):
                    begins, _ = claim.window.bounds(at)
                    before[name_at(claim, at)] = await claim.before(begins)
            # Or its clock is in another period, which the next attempt names.
        return None

    def settle(self, id: str, owed: Owed, owe: Owe) -> None:
        """Replace reserved amounts; see `Remote`."""

        async def report() -> None:
            if not await self._settle(id, owed):
                owe(id, owed)
            owed.end()

        if not self._background.begin(report()):
            owe(id, owed)
            owed.end()

    async def beat(self, owner: str) -> bool:
        """Report that a process is alive; see `Remote`."""
        return await self._redis.run(BEAT, (_OWNERS,), (owner,)) is not None

    async def report(self) -> bool:
        """Report what a Redis that was restarted may have lost; see `Remote`."""
        at = self.now()
        for name, (claim, (_, changed_ms, _)) in list(self._seen.items()):
            window = claim.window
            over = isinstance(window, Sliding) and changed_ms / 1000 + window.span_s <= at
            if over or name_at(claim, at) != name:
                del self._seen[name]
        # Any call finds out which Redis it is.
        if self._seen and await self.works() and self._redis.server != self._reported_to:
            server, claims = self._redis.server, [claim for claim, _ in self._seen.values()]
            for n in range(0, len(claims), _REPORTED_TOGETHER):
                some = claims[n : n + _REPORTED_TOGETHER]
                keys, sent = self._encode(some, at)
                seen = await self._redis.run(REPORT, keys, (sent,))
                if seen is None:
                    return True
                self._remember(some, at, seen)
            self._reported_to = server
        return bool(self._seen)

    async def works(self) -> bool:
        """Return whether Redis can be used."""
        return await self._redis.run("return 1", (), ()) is not None

    async def aclose(self) -> None:
        """Report what is on its way, in bounded time, and close the connections of the loop."""
        await self._background.settle(CLOSE_S)
        await self._redis.aclose()

    async def _settle(self, id: str, owed: Owed) -> bool:
        since = {"yes": owed.at, "maybe": math.inf, "no": -1.0}[owed.counted]
        keys, sent = self._encode(owed.claims, owed.at, since)
        given = json.dumps([-1 if amount is None else amount for amount in owed.amounts])
        seen = await self._redis.run(SETTLE, keys, (id, given, sent))
        if seen is None:
            return False
        self._remember(owed.claims, owed.at, seen)
        return True

    def _encode(
        self,
        claims: Sequence[Claim],
        at: float,
        since: float = 0.0,
        before: Mapping[str, int] = {},
    ) -> tuple[list[str], str]:
        """Return the keys and the claims of a script."""
        keys, sent = [_OWNERS, SERVER], []
        for claim in claims:
            name = name_at(claim, at)
            keys += [f"{PREFIX}count:{name}", f"{PREFIX}count:{name}:slots"]
            one = _encode(claim, at)
            one["since"] = round(min(since, 1e12) * 1000)
            if name in self._seen:
                one["seen"] = self._seen[name][1]
            if name in before:
                one["before"] = before[name]
            elif claim.before is not None:
                one["asks"] = True
            sent.append(one)
        return keys, json.dumps(sent)

    def _remember(self, claims: Sequence[Claim], at: float, seen: Sequence[list[int]]) -> None:
        for claim, found in zip(claims, seen, strict=True):
            if isinstance(claim.window, Running):
                continue
            name = name_at(claim, at)
            _, known = self._seen.pop(name, (claim, found))
            # Answers may overtake each other.
            self._seen[name] = claim, max(found, known)
        while len(self._seen) > _MAX_SEEN:
            del self._seen[next(iter(self._seen))]


def _encode(claim: Claim, at: float) -> dict[str, Any]:
    window = claim.window
    span_s = window.span_s if isinstance(window, Sliding) else 0.0
    begins, ends = window.bounds(at) if isinstance(window, Calendar) else (0.0, 0.0)
    return {
        "limit": claim.limit,
        "amount": claim.amount,
        "kept": claim.kept,
        "overdraw": claim.overdraw,
        "span": round(span_s * 1000),
        "width": max(span_s / SLOTS * 1000, 1),
        "begins": round(begins * 1000),
        "ends": round(ends * 1000),
        "keep": round((max(ends - begins, span_s) + _KEPT_LONGER_S) * 1000),
    }
