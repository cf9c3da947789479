"""A limit that all processes share: one script on Redis admits each request."""

from __future__ import annotations

import asyncio
import uuid
from typing import Literal, TypeAlias

from berlin.errors import LimitReachedError
from berlin.routing.base.clock import Clock
from berlin.routing.base.gate import LocalGate, Pass
from berlin.routing.shared.server import PREFIX, Script, SharedRedis

OnFailure: TypeAlias = Literal["divide", "refuse"]

REPLICA = uuid.uuid4().hex
"""Identifies this process."""

BEAT_S = 10.0

# KEYS: requests of the window, their tokens, running requests, live replicas.
# A replica that was not heard of for 30 s is gone, and what is inside of it leaves with it. That a
# place is free again is not announced to other processes, so they retry after 100 ms. Values of
# another type are replaced.
_BEGIN = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for n, kind in ipairs({'zset', 'hash', 'zset', 'zset'}) do
  local held = redis.call('TYPE', KEYS[n]).ok
  if held ~= 'none' and held ~= kind then redis.call('DEL', KEYS[n]) end
end
local function tokens_of(id) return tonumber(redis.call('HGET', KEYS[2], id) or 0) or 0 end
local function forget(id)
  if redis.call('ZREM', KEYS[1], id) == 1 then
    redis.call('HINCRBY', KEYS[2], 'sum', -tokens_of(id))
  end
  redis.call('HDEL', KEYS[2], id)
end
local function beat(replica)
  redis.call('ZADD', KEYS[4], now, replica)
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now - 30000)
  for n = 1, 4 do redis.call('PEXPIRE', KEYS[n], 86400000) end
  return redis.call('ZCARD', KEYS[4])
end
"""

_TAKE = Script(
    _BEGIN
    + """
local id, tokens, replica = ARGV[1], tonumber(ARGV[2]), ARGV[6]
local concurrent, requests, limit = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local replicas = beat(replica)
local inside = replica .. '|' .. id
if redis.call('ZSCORE', KEYS[3], inside) then return {0, replicas} end
for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - 60000)) do forget(old) end
if concurrent > 0 then
  for _, one in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
    if not redis.call('ZSCORE', KEYS[4], string.match(one, '^[^|]*')) then
      redis.call('ZREM', KEYS[3], one)
    end
  end
  if redis.call('ZCARD', KEYS[3]) >= concurrent then return {100, replicas} end
end
local wait = 0
local count = redis.call('ZCARD', KEYS[1])
if requests > 0 and count >= requests then
  local at = redis.call('ZRANGE', KEYS[1], count - requests, count - requests, 'WITHSCORES')[2]
  wait = at + 60000 - now
end
if limit > 0 then
  tokens = math.min(tokens, limit)
  local over = math.max(tokens_of('sum'), 0) + tokens - limit
  local recent = over > 0 and redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES') or {}
  for n = 1, #recent, 2 do
    if over <= 0 then break end
    over = over - tokens_of(recent[n])
    wait = math.max(wait, recent[n + 1] + 60000 - now)
  end
end
if wait > 0 then return {math.ceil(wait), replicas} end
if requests > 0 or limit > 0 then
  redis.call('ZADD', KEYS[1], now, id)
  redis.call('HSET', KEYS[2], id, tokens)
  redis.call('HINCRBY', KEYS[2], 'sum', tokens)
end
redis.call('ZADD', KEYS[3], now, inside)
beat(replica)
return {0, replicas}
"""
)
_SETTLE = Script(
    _BEGIN
    + """
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  redis.call('HINCRBY', KEYS[2], 'sum', tonumber(ARGV[2]) - tokens_of(ARGV[1]))
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
end
return 1
"""
)
_LEAVE = Script(_BEGIN + "return redis.call('ZREM', KEYS[3], ARGV[2] .. '|' .. ARGV[1])")
_UNDO = Script(
    _BEGIN
    + """
forget(ARGV[1])
return redis.call('ZREM', KEYS[3], ARGV[2] .. '|' .. ARGV[1])
"""
)
_BEAT = Script(_BEGIN + "return beat(ARGV[1])")


class _SharedPass(Pass):
    """An admitted request.

    Attributes:
        id: its id on Redis; `""` if Redis was not used.
    """

    __slots__ = ("id", "local")

    def __init__(self, local: Pass, id: str) -> None:
        super().__init__(local.at, local.tokens)
        self.local = local
        self.id = id


class SharedGate:
    """Counts the requests that all processes admit together.

    Without Redis, each process gets its share: the limit divided by the number of replicas last
    seen; or it admits nothing, if so configured. No single process admits more than the limit, even
    if Redis loses data.

    Args:
        name: identifies the limit.
        redis: the Redis.
        clock: seconds on a monotonic clock, for the count of this process.
        concurrent: concurrent requests.
        requests_per_minute: requests in any 60 seconds.
        tokens_per_minute: tokens in any 60 seconds.
        on_failure: `divide` or `refuse`.
        replica: identifies this process.
    """

    def __init__(
        self,
        name: str,
        redis: SharedRedis,
        clock: Clock,
        concurrent: int | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        *,
        on_failure: OnFailure = "divide",
        replica: str = REPLICA,
    ) -> None:
        self._replica = replica
        names = ("requests", "tokens", "inside", "replicas")
        self._keys = tuple(f"{PREFIX}limit:{{{name}}}:{what}" for what in names)
        self._redis = redis
        self._refuses = on_failure == "refuse"
        self._limits = (concurrent, requests_per_minute, tokens_per_minute)
        self._local = LocalGate(clock, *self._limits)
        self._replicas = 1
        self._inside = 0
        self._beating: asyncio.Task[None] | None = None

    async def take(self, tokens: int) -> Pass | float:
        """Admit a request, or return the seconds until it is worth trying again.

        Raises:
            LimitReachedError: if Redis cannot be used, and nothing is admitted without it.
        """
        if self._redis.rests:
            return self._take_alone(tokens)
        self._divide(1)
        local = self._local.try_take(tokens)
        if not isinstance(local, Pass):
            return local
        id = uuid.uuid4().hex
        limits = [limit or 0 for limit in self._limits]
        reply = await self._redis.run(_TAKE, self._keys, (id, tokens, *limits, self._replica))
        if reply is None:
            self._local.undo(local)
            return self._take_alone(tokens)
        wait_ms, self._replicas = reply
        if wait_ms:
            self._local.undo(local)
            return float(wait_ms) / 1000
        self._inside += 1
        if self._beating is None or self._beating.done():
            self._beating = asyncio.get_running_loop().create_task(self._beat())
        return _SharedPass(local, id)

    def settle(self, passed: Pass, tokens: int) -> None:
        """Record the actual cost of a request."""
        local, id = _parts(passed)
        self._local.settle(local, tokens)
        if id:
            self._redis.begin(self._redis.run(_SETTLE, self._keys, (id, tokens)))

    def leave(self, passed: Pass) -> None:
        """Record that a request has finished."""
        local, id = _parts(passed)
        self._local.leave(local)
        self._end(_LEAVE, id)

    def undo(self, passed: Pass) -> None:
        """Record that nothing was sent."""
        local, id = _parts(passed)
        self._local.undo(local)
        self._end(_UNDO, id)

    def _end(self, script: Script, id: str) -> None:
        if not id:
            return
        self._inside -= 1
        if not self._inside and self._beating is not None:
            self._beating.cancel()
        self._redis.begin(self._redis.run(script, self._keys, (id, self._replica)))

    def _take_alone(self, tokens: int) -> Pass | float:
        if self._refuses:
            raise LimitReachedError(
                "the shared limits cannot be checked: Redis does not answer; nothing was sent",
                retry_after=2.0,
            )
        self._divide(self._replicas)
        return self._local.try_take(tokens)

    def _divide(self, replicas: int) -> None:
        """Limit this process to its share."""
        share = [None if one is None else max(one // replicas, 1) for one in self._limits]
        gate = self._local
        gate.concurrent, gate.requests_per_minute, gate.tokens_per_minute = share

    async def _beat(self) -> None:
        """Report that this process is alive while it has running requests."""
        while True:
            await asyncio.sleep(BEAT_S)
            await self._redis.run(_BEAT, self._keys, (self._replica,))


def _parts(passed: Pass) -> tuple[Pass, str]:
    return (passed.local, passed.id) if isinstance(passed, _SharedPass) else (passed, "")
