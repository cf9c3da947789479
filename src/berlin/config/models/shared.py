"""Opens the Redis that the configuration names for circuits, limits and answers, and counters."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from berlin.config.references import resolve_value
from berlin.config.schema import SharedConfig
from berlin.routing.base.clock import Clock
from berlin.routing.counters.contract import Counters
from berlin.routing.counters.memory import MemoryCounters
from berlin.types import Secret

if TYPE_CHECKING:
    from berlin.routing.shared.server import SharedRedis


def open_shared(
    config: SharedConfig, environ: Mapping[str, str] = os.environ
) -> SharedRedis | None:
    """Return the connection to the shared Redis, or `None` if none is configured.

    Raises:
        ConfigurationError: if the configured Redis cannot be used.
    """
    url = resolve_value(config.redis, "shared.redis", environ)
    if url is None:
        return None
    from berlin.routing.shared.server import SharedRedis

    return SharedRedis(Secret(url))


def open_counters(
    config: SharedConfig, redis: SharedRedis | None, clock: Clock = time.monotonic
) -> Counters:
    """Return counters on the shared Redis, or those of this process if none is configured."""
    if redis is None:
        return MemoryCounters(clock)
    from berlin.routing.counters.redis import RedisCounters
    from berlin.routing.counters.shared import SharedCounters

    remote = RedisCounters(redis)
    local = MemoryCounters(clock, remote.now)
    return SharedCounters(remote, local, on_failure=config.on_failure)
