"""Opens the store that maps histories to the service's conversations."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from berlin.config.paths import data_path
from berlin.config.references import resolve_value, unknown_store
from berlin.config.schema import ConversationsConfig
from berlin.routing.conversations import Heads, MemoryHeads
from berlin.types import Secret

_OPEN: dict[tuple[str, float, int, str], Heads] = {}


def open_heads(config: ConversationsConfig, environ: Mapping[str, str] = os.environ) -> Heads:
    """Return the store that the configuration names, the same one for all providers.

    Raises:
        ConfigurationError: if it names none, or the store cannot be used.
    """
    name = resolve_value(config.store, "conversations.store", environ) or "memory"
    path = data_path("conversations.sqlite")
    setting = (name, config.expire_s, config.max_count, str(path))
    if setting not in _OPEN:
        _OPEN[setting] = _open(name, config)
    return _OPEN[setting]


def _open(name: str, config: ConversationsConfig) -> Heads:
    if name == "memory":
        return MemoryHeads(config.expire_s, config.max_count)
    if name == "file" or name.startswith("file:/"):
        from berlin.routing.conversations.sqlite import SQLiteHeads  # imports SQLite

        path = Path(name[5:]) if name[4:] else data_path("conversations.sqlite")
        return SQLiteHeads(path, config.expire_s, config.max_count)
    if name.startswith(("redis://", "rediss://", "unix://")):
        from berlin.routing.conversations.redis import RedisHeads  # an extra

        return RedisHeads(Secret(name), config.expire_s)
    raise unknown_store("conversations.store", name, "memory, file, file:/PATH, or redis://…")
