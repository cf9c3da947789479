"""Opens the Redis that the configuration names for circuits, limits and answers."""

from __future__ import annotations

import os
from collections.abc import Mapping

from berlin.config.schema import SharedConfig
from berlin.config.tokens import resolve_value
from berlin.routing.shared.server import SharedRedis
from berlin.types import Secret


def open_shared(
    config: SharedConfig, environ: Mapping[str, str] = os.environ
) -> SharedRedis | None:
    """Return the connection to the shared Redis, or `None` if none is configured.

    Raises:
        ConfigurationError: if the configured Redis cannot be used.
    """
    url = resolve_value(config.redis, "shared.redis", environ)
    return None if url is None else SharedRedis(Secret(url))
