"""The scripts of the counters on Redis: one reserves, one settles, by the clock of the server."""

from __future__ import annotations

from berlin.routing.counters.contract import HELD_WAIT_S, OWNER_EXPIRES_S
from berlin.routing.counters.remote import RETRY_RUNNING_S
from berlin.routing.shared.server import LOST_S

HOLD_S = 1.0

# KEYS: the owners (process → when it was last heard of); which Redis answers, and until when what
# it may have lost admits nothing, written by each new connection; then two for each claim: a hash
# with `used`, `open`, `s:SLOT` → amount and `h:ID` → `slot|amount|owner|kept`; a sorted set of
# slots by the time of their newest amount. Keys of another type are replaced.
#
# What a dead owner had reserved of a rate or budget stays counted, since it was probably spent; a
# place among those that run is free again. The record stays, so that a process that was only paused
# can still settle once.
#
# A counter that may have lost data (Redis was restarted, empty or with an older snapshot, failed
# over, or evicted it) begins a new life, and is filled from what processes remember. `at` is the
# time of its last change, different for each; `born` the beginning of its present life on `server`.
# A claim brings what its process saw last: born, at, used. If that is of an earlier life, and newer
# than what is known of that (`base`, at `base_at`), it takes the place of `base`. A day or month
# counts at least what the ledger has of it (`before`): the process that saw it last may be idle, or
# gone. It is asked for before the first reservation of each life (`asks`); until then the name of
# the server ends with a mark.
_BEGIN = f"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for n, key in ipairs(KEYS) do
  local held = redis.call('TYPE', key).ok
  local kind = n == 2 and 'string' or n % 2 == 1 and n > 1 and 'hash' or 'zset'
  if held ~= 'none' and held ~= kind then redis.call('DEL', key) end
end
local function number(hash, field) return tonumber(redis.call('HGET', hash, field) or 0) or 0 end
local function whole(value) return string.format('%.0f', value) end
-- The server's clock may be set back: what seems to be in the future is from now.
local function clamp(set)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', set, '(' .. whole(now), '+inf')) do
    redis.call('ZADD', set, now, name)
  end
end
local function beat(owner)
  clamp(KEYS[1])
  redis.call('ZADD', KEYS[1], now, owner)
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - {OWNER_EXPIRES_S * 1000:.0f})
  redis.call('PEXPIRE', KEYS[1], 86400000)
  return redis.call('ZCARD', KEYS[1])
end
local function runs(claim) return claim.span == 0 and claim.ends == 0 end
local function add(n, claim, at, amount)
  local hash, slots, slot = KEYS[2 * n + 1], KEYS[2 * n + 2], ''
  if claim.span > 0 then
    slot = whole(math.floor(at / claim.width))
    if amount < 0 and redis.call('HEXISTS', hash, 's:' .. slot) == 0 then return slot end
    redis.call('HINCRBY', hash, 's:' .. slot, amount)
    local last = tonumber(redis.call('ZSCORE', slots, slot) or 0)
    redis.call('ZADD', slots, math.max(at, last), slot)
  end
  redis.call('HINCRBY', hash, 'used', amount)
  return slot
end
local function forget(n, claim)
  if claim.span == 0 then return end
  local hash, slots = KEYS[2 * n + 1], KEYS[2 * n + 2]
  clamp(slots)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', slots, '-inf', now - claim.span)) do
    redis.call('HINCRBY', hash, 'used', -number(hash, 's:' .. old))
    redis.call('HDEL', hash, 's:' .. old)
    redis.call('ZREM', slots, old)
  end
end
-- Until when a counter that may have been lost admits nothing, so that all who use it can report.
local holds = {{}}
local function restore(n, claim, reserves)
  forget(n, claim)
  if runs(claim) then return end
  local hash, seen = KEYS[2 * n + 1], claim.seen or {{0, 0, 0}}
  local born, at = number(hash, 'born'), number(hash, 'at')
  local server, hold = string.match(redis.call('GET', KEYS[2]) or '', '^(%w*) ?(%d*)$')
  local known = redis.call('HGET', hash, 'server') or ''
  if born == 0 or string.match(known, '^%w*') ~= server then
    born, known = math.max(now, at + 1, seen[2] + 1), server .. '?'
    redis.call('HSET', hash, 'born', born, 'server', known, 'floor', 0)
    redis.call('HSET', hash, 'base', number(hash, 'used'), 'base_at', at)
    redis.call('PEXPIRE', hash, claim.keep)
  end
  if known ~= server then
    if claim.asks and reserves then return true end
    if not claim.asks then
      local more = math.max((claim.before or 0) - number(hash, 'used'), 0)
      if more > 0 then add(n, claim, now, more) end
      redis.call('HINCRBY', hash, 'base', more)
      redis.call('HSET', hash, 'floor', claim.before or 0, 'server', server)
    end
  end
  local base_at = number(hash, 'base_at')
  hold = tonumber(hold) or 0
  if base_at > 0 or (seen[1] ~= born and seen[2] > 0) then
    hold = math.max(hold, born + {HOLD_S * 1000:.0f})
  end
  -- More than that is a clock that was set back.
  if hold < now + {2 * LOST_S * 1000:.0f} then holds[n] = hold end
  if seen[1] == born or seen[2] <= base_at then return end
  if claim.span > 0 and seen[2] + claim.span <= now then return end
  local total = math.max(seen[3], number(hash, 'floor'))
  local more = total - number(hash, 'base')
  if claim.span > 0 then
    if base_at + claim.span <= now then more = total end
    more = math.max(more, 0)
  end
  add(n, claim, seen[2], more)
  redis.call('HSET', hash, 'base', total, 'base_at', seen[2])
end
local function touch(n, claim)
  local hash = KEYS[2 * n + 1]
  redis.call('HSET', hash, 'at', math.max(now, number(hash, 'at') + 1))
  redis.call('PEXPIRE', hash, claim.keep)
  redis.call('PEXPIRE', KEYS[2 * n + 2], claim.keep)
end
local function seen_of(claims)
  local all = {{}}
  for n, claim in ipairs(claims) do
    local hash = KEYS[2 * n + 1]
    all[n] = {{number(hash, 'born'), number(hash, 'at'), number(hash, 'used')}}
  end
  return all
end
local function change(n, id, amount, keep)
  local hash = KEYS[2 * n + 1]
  local record = redis.call('HGET', hash, 'h:' .. id)
  if not record then return false end
  local slot, before, owner, kept = string.match(record, '^(%d*)|(%d+)|([^|]*)|([01])$')
  if not slot then return redis.call('HDEL', hash, 'h:' .. id) end
  if kept == '0' then redis.call('HINCRBY', hash, 'open', -1) end
  if amount and (slot == '' or redis.call('HEXISTS', hash, 's:' .. slot) == 1) then
    local more = amount - tonumber(before)
    redis.call('HINCRBY', hash, 'used', more)
    if slot ~= '' then redis.call('HINCRBY', hash, 's:' .. slot, more) end
  end
  if keep then
    local stays = amount and whole(amount) or before
    redis.call('HSET', hash, 'h:' .. id, slot .. '|' .. stays .. '|' .. owner .. '|1')
  else redis.call('HDEL', hash, 'h:' .. id) end
  return true
end
local function bury(n, claim)
  local fields = redis.call('HGETALL', KEYS[2 * n + 1])
  for i = 1, #fields, 2 do
    local id = string.match(fields[i], '^h:(.*)')
    local owner = id and string.match(fields[i + 1], '|([^|]*)|0$')
    if owner and not redis.call('ZSCORE', KEYS[1], owner) then
      change(n, id, runs(claim) and 0 or nil, true)
    end
  end
end
"""

RESERVE = (
    _BEGIN
    + f"""
local id, owner, claims = ARGV[1], ARGV[2], cjson.decode(ARGV[3])
local owners = beat(owner)
local used, held, refused, longest = {{}}, {{}}, 0, -1
local function fits(n, claim)
  local hash, total = KEYS[2 * n + 1], number(KEYS[2 * n + 1], 'used')
  used[n] = total
  if now < (holds[n] or 0) then return false end
  return total + claim.amount <= claim.limit or
    (claim.overdraw and total < claim.limit and number(hash, 'open') == 0)
end
local function reserved(n)
  local fields, total = redis.call('HGETALL', KEYS[2 * n + 1]), 0
  for i = 1, #fields, 2 do
    local amount = string.match(fields[i + 1], '^%d*|(%d+)|[^|]*|0$')
    if amount and string.sub(fields[i], 1, 2) == 'h:' then total = total + tonumber(amount) end
  end
  return total
end
local function wait_of(n, claim)
  held[n] = reserved(n)
  if now < (holds[n] or 0) then return holds[n] - now end
  if claim.ends > 0 then
    if used[n] - held[n] < claim.limit then return {HELD_WAIT_S * 1000:.0f} end
    return claim.ends - now
  end
  if claim.span == 0 then return {RETRY_RUNNING_S * 1000:.0f} end
  local over = used[n] - claim.limit + (claim.overdraw and 1 or claim.amount)
  local slots, last = redis.call('ZRANGE', KEYS[2 * n + 2], 0, -1, 'WITHSCORES'), now
  for s = 1, #slots, 2 do
    over, last = over - number(KEYS[2 * n + 1], 's:' .. slots[s]), tonumber(slots[s + 1])
    if over <= 0 then break end
  end
  return last + claim.span - now
end
for n, claim in ipairs(claims) do
  local hash = KEYS[2 * n + 1]
  if claim.ends > 0 and (now < claim.begins or now >= claim.ends) then
    return {{now, owners, -1, 0, {{}}, 0}}
  end
  if redis.call('HEXISTS', hash, 'h:' .. id) == 1 then
    return {{now, owners, 0, 0, seen_of(claims), 0}}
  end
  if restore(n, claim, true) then return {{now, owners, -2, n, {{}}, 0}} end
  if not fits(n, claim) then
    bury(n, claim)
    if not fits(n, claim) then
      local wait = wait_of(n, claim)
      if wait > longest then refused, longest = n, wait end
    end
  end
end
if refused > 0 then
  return {{now, owners, refused, math.ceil(longest), seen_of(claims), held[refused]}}
end
for n, claim in ipairs(claims) do
  local hash = KEYS[2 * n + 1]
  local slot = add(n, claim, now, claim.amount)
  if not claim.kept then redis.call('HINCRBY', hash, 'open', 1) end
  local record = {{slot, whole(claim.amount), owner, claim.kept and '1' or '0'}}
  redis.call('HSET', hash, 'h:' .. id, table.concat(record, '|'))
  touch(n, claim)
end
return {{now, owners, 0, 0, seen_of(claims), 0}}
"""
)

# `since` is when an amount was counted: if that is before `born` and its record is missing, the
# record was lost. The new record makes settling it again harmless. What was counted nowhere (its
# `since` is negative) needs none, because to count it twice is on the safe side.
SETTLE = (
    _BEGIN
    + """
local id, amounts, claims = ARGV[1], cjson.decode(ARGV[2]), cjson.decode(ARGV[3])
for n, claim in ipairs(claims) do
  local hash, amount = KEYS[2 * n + 1], amounts[n] >= 0 and amounts[n] or nil
  restore(n, claim)
  if not change(n, id, amount, false) and amount and not runs(claim)
      and claim.since < number(hash, 'born') then
    local lost = claim.since >= 0
    local at = lost and claim.span > 0 and number(hash, 'base_at') or now
    local more = amount - claim.amount
    -- The ledger may have had this request, too.
    if lost then more = math.max(more, number(hash, 'floor') - number(hash, 'used')) end
    local slot = add(n, claim, at, more)
    if lost then redis.call('HSET', hash, 'h:' .. id, slot .. '|' .. whole(amount) .. '||1') end
  end
  touch(n, claim)
end
return seen_of(claims)
"""
)
# What a process saw last, told to a Redis that may have lost it.
REPORT = (
    _BEGIN
    + """
local claims = cjson.decode(ARGV[1])
for n, claim in ipairs(claims) do
  restore(n, claim)
  touch(n, claim)
end
return seen_of(claims)
"""
)
BEAT = _BEGIN + "return beat(ARGV[1])"
