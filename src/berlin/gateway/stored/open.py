"""Opens the configured store of responses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from berlin.config.paths import data_path
from berlin.config.references import resolve_value, unknown_store
from berlin.config.schema import ResponsesConfig
from berlin.errors import ConfigurationError
from berlin.gateway.stored.responses import StoredResponses
from berlin.gateway.stored.sqlite import SqliteEngine
from berlin.types import Secret


def open_stored(
    config: ResponsesConfig, environ: Mapping[str, str] = os.environ
) -> StoredResponses:
    """Return the store. Raises ConfigurationError if the configured one cannot be used."""
    name = resolve_value(config.store, "responses.store", environ) or "memory"
    if name == "off":
        return StoredResponses(None)
    if name.startswith(("redis://", "rediss://", "unix://")):
        from berlin.gateway.stored.redis import RedisEngine

        return StoredResponses(RedisEngine(Secret(name), config.expire_s, config.max_bytes))
    path: Path | None = None
    if name.startswith("file:/"):
        path = Path(name[5:])
    elif name == "file":
        path = data_path("responses.sqlite")
    elif name != "memory":
        raise unknown_store("responses.store", name, "off, memory, file, file:/PATH, or redis://…")
    try:
        engine = SqliteEngine(path, config.expire_s, config.max_count, config.max_bytes)
    except OSError as error:
        raise ConfigurationError(f"responses.store = {name!r}: {error}") from error
    return StoredResponses(engine)
