"""Opens the limiter that a configuration describes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from berlin.config import Config
from berlin.config.models.shared import open_counters, open_shared
from berlin.gateway.access.limits.limiter import Limiter
from berlin.routing.counters.contract import Counters
from berlin.routing.counters.shared import SharedCounters
from berlin.routing.counters.sqlite import SqliteCounters

FILE = "limits.sqlite"


def open_limiter(
    config: Config,
    folder: Path | None,
    environ: Mapping[str, str] = os.environ,
    *,
    alone: bool = True,
) -> Limiter:
    """Return the limiter of a gateway.

    With `[shared] redis` it counts there. Otherwise it counts days and months in a file, and the
    rest in memory, or all of it in the file if there are several processes.

    Args:
        config: the whole file.
        folder: the folder for the file; without it everything is counted in memory.
        environ: the environment variables.
        alone: whether this is the only process.

    Raises:
        ConfigurationError: if the configured Redis cannot be used.
    """
    redis = open_shared(config.shared, environ)
    if redis is not None:
        return Limiter(config.limits, config.prices, open_counters(config.shared, redis))
    if folder is None:
        return Limiter(config.limits, config.prices)

    def lasting() -> Counters:
        return SharedCounters(SqliteCounters(folder / FILE))

    return Limiter(config.limits, config.prices, None if alone else lasting(), lasting)
