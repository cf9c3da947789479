"""The state of a circuit breaker in Redis: all processes share what one learns."""

from __future__ import annotations

import asyncio

from berlin.routing.base.circuit import (
    COOL_DOWN_S,
    FAILURES,
    GRANTED,
    PROBE_S,
    Circuit,
    Permit,
    Seen,
    State,
)
from berlin.routing.base.clock import Clock
from berlin.routing.shared.server import PREFIX, SharedRedis

# All times are the server's, in milliseconds; unused keys expire after a day. A value of another
# type is not Berlin's and is replaced. If the server's clock was set back since `at`, when a time
# was last written, all times move with it.
_STATE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.pcall('HMGET', KEYS[1], 'open', 'until', 'probe', 'failures', 'at')
if held.err then redis.call('DEL', KEYS[1]); held = {} end
local open, rest = held[1] == '1', tonumber(held[2] or 0) or 0
local probe, failures = tonumber(held[3] or 0) or 0, tonumber(held[4] or 0) or 0
local function save(...)
  redis.call('HSET', KEYS[1], 'at', now, ...)
  redis.call('PEXPIRE', KEYS[1], 86400000)
end
local back = (tonumber(held[5] or 0) or 0) - now
if back > 0 then
  rest, probe = rest - back, probe - back
  save('until', rest, 'probe', probe)
end
"""

_ADMIT = (
    _STATE
    + """
if now < rest then return {0, 0, rest - now, failures, open and 0 or 1} end
if not open then return {1, 0, 0, failures, 0} end
if now < probe then return {0, 0, 1000, failures, 0} end
save('probe', now + tonumber(ARGV[1]))
return {1, 1, 0, failures, 0}
"""
)
_CHANGE = (
    _STATE
    + """
local what, is_probe, limit = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])
if what == 'rest' then save('until', math.max(rest, now + tonumber(ARGV[4])))
elseif what == 'release' then save('probe', 0)
elseif what == 'succeed' then
  if is_probe then save('open', 0, 'probe', 0, 'failures', limit - 1)
  elseif not open then save('failures', 0) end
else
  failures = failures + 1
  save('failures', failures)
  if is_probe then save('probe', 0) end
  if is_probe or not open and failures >= limit then
    save('open', 1, 'until', now + tonumber(ARGV[4]))
  end
end
return 1
"""
)


class SharedCircuit(Circuit):
    """The state of one provider and account for all processes.

    Each request asks Redis once. When Redis cannot be used, the state of this process applies.

    Args:
        name: the provider's name, which identifies it.
        redis: the Redis.
        clock: seconds on a monotonic clock, for the state of this process.
        failures: consecutive failures that open it.
        cool_down_s: seconds until the provider is probed.
    """

    def __init__(
        self,
        name: str,
        redis: SharedRedis,
        clock: Clock,
        failures: int = FAILURES,
        cool_down_s: float = COOL_DOWN_S,
    ) -> None:
        super().__init__(clock, failures, cool_down_s)
        self._keys = (f"{PREFIX}circuit:{{{name}}}",)
        self._redis = redis
        self._open_until = 0.0
        self._failures = 0

    @property
    def state(self) -> State:
        """The state, as this process last saw it."""
        return "open" if self._clock() < self._open_until else super().state

    async def admit(self) -> Permit:
        """Return whether a request may be sent now."""
        reply = await self._redis.run(_ADMIT, self._keys, (round(PROBE_S * 1000),))
        if reply is None:
            return await super().admit()
        granted, probe, wait_ms, self._failures, resting = reply
        self._open_until = 0.0 if granted or resting else self._clock() + wait_ms / 1000
        return Permit(bool(granted), bool(probe), wait_ms / 1000, bool(resting))

    def succeed(self, permit: Permit) -> Seen:
        """Record an answer."""
        super().succeed(permit)
        if not (permit.probe or self._failures):
            return None
        self._failures = 0
        return self._change("succeed", permit)

    def fail(self, permit: Permit) -> Seen:
        """Record a failure."""
        self._failures += 1
        super().fail(permit)
        return self._change("fail", permit, self._cool_down_s)

    def rest(self, seconds: float) -> Seen:
        """Send nothing for this long."""
        super().rest(seconds)
        return self._change("rest", GRANTED, seconds)

    def release(self, permit: Permit) -> Seen:
        """Release the probe, if this request held it."""
        super().release(permit)
        return self._change("release", permit) if permit.probe else None

    def _change(self, what: str, permit: Permit, seconds: float = 0.0) -> Seen:
        arguments = (what, int(permit.probe), self._limit, round(seconds * 1000))
        changing = self._redis.begin(self._redis.run(_CHANGE, self._keys, arguments))
        # A caller that leaves while it waits does not stop it.
        return asyncio.shield(changing) if changing is not None else None
