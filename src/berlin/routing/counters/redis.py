"""Counters on Redis: one script reserves, one settles, by the clock of the server."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from berlin.routing.base.clock import Clock
from berlin.routing.counters.contract import OWNER_EXPIRES_S, Claim
from berlin.routing.counters.remote import HELD_WAIT_S, RETRY_RUNNING_S, RemoteReply, Shape
from berlin.routing.shared.server import PREFIX, Script, SharedRedis

_OWNERS = f"{PREFIX}owners"
_KEPT_LONGER_S = 3600.0

# KEYS: the owners (process → when it was last heard of); then two for each claim: a hash with
# `used`, `open`, `s:SLOT` → amount and `h:ID` → `slot|amount|owner|kept`; a sorted set of slots by
# the time of their newest amount. What a dead owner had reserved is released, and its record stays
# at 0, so that a process that was only paused can still settle once. Keys of another type are
# replaced.
_BEGIN = f"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for n, key in ipairs(KEYS) do
  local held = redis.call('TYPE', key).ok
  local kind = n > 1 and n % 2 == 0 and 'hash' or 'zset'
  if held ~= 'none' and held ~= kind then redis.call('DEL', key) end
end
local function number(hash, field) return tonumber(redis.call('HGET', hash, field) or 0) or 0 end
local function beat(owner)
  redis.call('ZADD', KEYS[1], now, owner)
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - {OWNER_EXPIRES_S * 1000:.0f})
  redis.call('PEXPIRE', KEYS[1], 86400000)
  return redis.call('ZCARD', KEYS[1])
end
local function change(hash, id, amount, release)
  local record = redis.call('HGET', hash, 'h:' .. id)
  if not record then return end
  local slot, before, owner, kept = string.match(record, '^(%d*)|(%d+)|([^|]*)|([01])$')
  if not slot then return redis.call('HDEL', hash, 'h:' .. id) end
  if kept == '0' then redis.call('HINCRBY', hash, 'open', -1) end
  if amount and (slot == '' or redis.call('HEXISTS', hash, 's:' .. slot) == 1) then
    local more = amount - tonumber(before)
    redis.call('HINCRBY', hash, 'used', more)
    if slot ~= '' then redis.call('HINCRBY', hash, 's:' .. slot, more) end
  end
  if release then redis.call('HSET', hash, 'h:' .. id, slot .. '|0|' .. owner .. '|1')
  else redis.call('HDEL', hash, 'h:' .. id) end
end
local function bury(hash)
  local fields = redis.call('HGETALL', hash)
  for n = 1, #fields, 2 do
    local id = string.match(fields[n], '^h:(.*)')
    local owner = id and string.match(fields[n + 1], '|([^|]*)|0$')
    if owner and not redis.call('ZSCORE', KEYS[1], owner) then change(hash, id, 0, true) end
  end
end
"""

_RESERVE = Script(
    _BEGIN
    + f"""
local id, owner, claims = ARGV[1], ARGV[2], cjson.decode(ARGV[3])
local owners = beat(owner)
local used, refused, longest = {{}}, 0, -1
local function fits(n, claim)
  local hash, total = KEYS[2 * n], number(KEYS[2 * n], 'used')
  used[n] = total
  return total + claim.amount <= claim.limit or
    (claim.overdraw and total < claim.limit and number(hash, 'open') == 0)
end
local function wait_of(n, claim)
  if claim.ends > 0 then
    if used[n] < claim.limit then return {HELD_WAIT_S * 1000:.0f} end
    return claim.ends - now
  end
  if claim.span == 0 then return {RETRY_RUNNING_S * 1000:.0f} end
  local over = used[n] - claim.limit + (claim.overdraw and 1 or claim.amount)
  local slots, last = redis.call('ZRANGE', KEYS[2 * n + 1], 0, -1, 'WITHSCORES'), now
  for s = 1, #slots, 2 do
    over, last = over - number(KEYS[2 * n], 's:' .. slots[s]), tonumber(slots[s + 1])
    if over <= 0 then break end
  end
  return last + claim.span - now
end
for n, claim in ipairs(claims) do
  local hash, slots = KEYS[2 * n], KEYS[2 * n + 1]
  if claim.ends > 0 and (now < claim.begins or now >= claim.ends) then
    return {{now, owners, -1, 0, {{}}}}
  end
  if redis.call('HEXISTS', hash, 'h:' .. id) == 1 then
    for m = 1, #claims do used[m] = number(KEYS[2 * m], 'used') end
    return {{now, owners, 0, 0, used}}
  end
  if claim.span > 0 then
    for _, old in ipairs(redis.call('ZRANGEBYSCORE', slots, '-inf', now - claim.span)) do
      redis.call('HINCRBY', hash, 'used', -number(hash, 's:' .. old))
      redis.call('HDEL', hash, 's:' .. old)
      redis.call('ZREM', slots, old)
    end
  end
  if not fits(n, claim) then
    bury(hash)
    if not fits(n, claim) then
      local wait = wait_of(n, claim)
      if wait > longest then refused, longest = n, wait end
    end
  end
end
if refused > 0 then return {{now, owners, refused, math.ceil(longest), used}} end
for n, claim in ipairs(claims) do
  local hash, slot = KEYS[2 * n], ''
  if claim.span > 0 then
    slot = string.format('%.0f', math.floor(now / claim.width))
    redis.call('ZADD', KEYS[2 * n + 1], now, slot)
    redis.call('HINCRBY', hash, 's:' .. slot, claim.amount)
  end
  used[n] = redis.call('HINCRBY', hash, 'used', claim.amount)
  if not claim.kept then redis.call('HINCRBY', hash, 'open', 1) end
  local record = {{slot, string.format('%.0f', claim.amount), owner, claim.kept and '1' or '0'}}
  redis.call('HSET', hash, 'h:' .. id, table.concat(record, '|'))
  redis.call('PEXPIRE', hash, claim.keep)
  redis.call('PEXPIRE', KEYS[2 * n + 1], claim.keep)
end
return {{now, owners, 0, 0, used}}
"""
)
_SETTLE = Script(
    _BEGIN
    + """
for n, amount in ipairs(cjson.decode(ARGV[2])) do
  change(KEYS[2 * n], ARGV[1], amount >= 0 and amount or nil, false)
end
return 1
"""
)
_LOOK = Script(_BEGIN + "return 1")
_BEAT = Script(_BEGIN + "return beat(ARGV[1])")


class RedisCounters:
    """Counters on Redis.

    Args:
        redis: the Redis.
        clock: seconds since the epoch.
    """

    def __init__(self, redis: SharedRedis, clock: Clock = time.time) -> None:
        self._redis = redis
        self._clock = clock
        self._ahead_s = 0.0

    @property
    def rests(self) -> bool:
        """Whether it failed a moment ago and is not used for now."""
        return self._redis.rests

    def now(self) -> float:
        """Return the server's time, as far as known."""
        return self._clock() + self._ahead_s

    async def reserve(self, id: str, owner: str, claims: Sequence[Claim]) -> RemoteReply | None:
        """Reserve; see `Remote`."""
        for _ in range(2):
            shapes = [Shape.of(claim, self.now()) for claim in claims]
            sent = [_encode(claim, shape) for claim, shape in zip(claims, shapes, strict=True)]
            keys = _keys(claims, shapes)
            reply = await self._redis.run(_RESERVE, keys, (id, owner, json.dumps(sent)))
            if reply is None:
                return None
            now_ms, owners, refused, wait_ms, used = reply
            self._ahead_s = now_ms / 1000 - self._clock()
            if refused >= 0:
                index = refused - 1 if refused else None
                return RemoteReply(now_ms / 1000, owners, tuple(used), index, wait_ms / 1000)
            # By its clock the period is another one, which the next attempt names.
        return None

    async def settle(
        self, id: str, claims: Sequence[Claim], amounts: Sequence[int | None], at: float
    ) -> bool:
        """Replace reserved amounts; see `Remote`."""
        shapes = [Shape.of(claim, at) for claim in claims]
        sent = json.dumps([-1 if amount is None else amount for amount in amounts])
        return await self._redis.run(_SETTLE, _keys(claims, shapes), (id, sent)) is not None

    async def beat(self, owner: str) -> bool:
        """Report that a process is alive; see `Remote`."""
        return await self._redis.run(_BEAT, (_OWNERS,), (owner,)) is not None

    async def works(self) -> bool:
        """Return whether Redis can be used."""
        return await self._redis.run(_LOOK, (_OWNERS,), ()) is not None

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._redis.aclose()


def _keys(claims: Sequence[Claim], shapes: Sequence[Shape]) -> list[str]:
    keys = [_OWNERS]
    for claim, shape in zip(claims, shapes, strict=True):
        name = f"{PREFIX}count:{shape.name(claim.counter)}"
        keys += [name, f"{name}:slots"]
    return keys


def _encode(claim: Claim, shape: Shape) -> dict[str, float | bool]:
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
