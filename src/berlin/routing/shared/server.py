"""The Redis that routing shares: every call is bounded, and a failure costs one short wait."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import weakref
from collections.abc import Coroutine, Sequence
from typing import Any

from berlin.routing.base.background import Background
from berlin.routing.base.clock import Chance, Clock
from berlin.routing.base.resting import Resting
from berlin.transport.redis import open_redis
from berlin.types import Secret

OPERATION_TIMEOUT_S = 0.25
PREFIX = "berlin:routing:"
SERVER = f"{PREFIX}server"
"""The key that names the Redis which answers, and until when counters that it may have lost admit
nothing: an id, or an id and a time in milliseconds."""

LOST_S = 5.0
"""The length of that time. By then every process has reported what it remembers: it may leave Redis
alone for three seconds, then looks at it each second, and may be kept waiting by a busy machine."""

_NAME_SERVER = """
local id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local held = redis.call('GET', KEYS[1])
local named, hold = string.match(held or '', '^(%w*) ?(%d*)$')
if named ~= id then hold = '' end
if hold == '' and (held and named ~= id or ARGV[1] ~= '' and ARGV[1] ~= id) then
  local time = redis.call('TIME')
  hold = string.format(' %.0f', time[1] * 1000 + time[2] / 1000 + ARGV[2])
  redis.call('SET', KEYS[1], id .. hold)
elseif named ~= id then redis.call('SET', KEYS[1], id) end
return id
"""


class SharedRedis(Resting):
    """Runs scripts on a Redis, on any event loop.

    When a call fails or is too slow, Redis is not used for a moment (`REST_S`, with jitter, so that
    not all callers return at once), and callers work without it meanwhile.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with its password.
        clock: a monotonic clock, in seconds.
        chance: numbers from 0 to 1.

    Attributes:
        server: the Redis that answered last; empty if it does not say. Another one may have lost
            data.

    Raises:
        ConfigurationError: if the extra is not installed, or the URL is invalid.
    """

    def __init__(
        self, url: Secret, clock: Clock = time.monotonic, chance: Chance = random.random
    ) -> None:
        super().__init__("Redis", clock, chance)
        self.server = ""
        self._url = url
        _, errors = self._open()
        self._errors = (errors, OSError, TimeoutError, ValueError)
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = (
            weakref.WeakKeyDictionary()
        )
        self._background = Background()

    async def run(
        self, script: str, keys: Sequence[str], arguments: Sequence[str | bytes | float]
    ) -> Any:
        """Run a Lua script and return its result; `None` if Redis cannot be used now."""
        if self.rests:
            return None
        try:
            async with asyncio.timeout(2 * OPERATION_TIMEOUT_S):
                return await self._client().eval(script, len(keys), *keys, *arguments)
        except self._errors as error:
            self.rest(error)
            return None

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any] | None:
        """Run something in the background; return its task, or `None` if there is no loop."""
        return self._background.begin(work)

    def _client(self) -> Any:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client, _ = self._open()
            self._clients[loop] = client
        return client

    def _open(self) -> tuple[Any, Any]:
        return open_redis(
            self._url,
            OPERATION_TIMEOUT_S,
            "shared.redis",
            "redis.asyncio",
            redis_connect_func=self._connected,
        )

    async def _connected(self, connection: Any) -> None:
        """Find out which Redis this is: after a restart or a fail-over it may have lost data."""
        from redis.exceptions import ResponseError

        await connection.on_connect()
        with contextlib.suppress(ResponseError):  # not allowed to ask, or read-only
            hold_ms = LOST_S * 1000
            await connection.send_command("EVAL", _NAME_SERVER, 1, SERVER, self.server, hold_ms)
            self.server = (await connection.read_response()).decode()

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._background.settle(OPERATION_TIMEOUT_S)
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()
