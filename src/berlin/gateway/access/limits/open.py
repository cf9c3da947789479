"""Opens the limiter that a configuration describes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from berlin.config import Config
from berlin.config.models.shared import open_counters, open_shared
from berlin.gateway.access.limits.history import History
from berlin.gateway.access.limits.limiter import Limiter
from berlin.routing.counters.shared import SharedCounters
from berlin.routing.counters.sqlite import SqliteCounters

FILE = "limits.sqlite"


def open_limiter(
    config: Config,
    folder: Path | None,
    environ: Mapping[str, str] = os.environ,
    *,
    alone: bool = True,
    history: History | None = None,
) -> Limiter:
    """Return the limiter of a gateway.

    With `[shared] redis` it counts there. Otherwise it counts days and months in a file, and the
    rest in memory, or all of it in the file if there are several processes.

    Args:
        config: the whole file.
        folder: the folder for the file; without it everything is counted in memory.
        environ: the environment variables.
        alone: whether this is the only process.
        history: asks the ledger, if there is one.

    Raises:
        ConfigurationError: if the configured Redis cannot be used.
    """
    opened = partial(Limiter, config.limits, config.prices, history=history)
    redis = open_shared(config.shared, environ)
    if redis is not None:
        return opened(open_counters(config.shared, redis))
    if folder is None:
        return opened()

    return opened(SharedCounters(SqliteCounters(folder / FILE), only_lasting=alone))
