"""The configuration as one of several workers uses it: what is in memory is shared, or divided."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec.structs import replace

from berlin.config import Config
from berlin.config.models.tables import LimitConfig
from berlin.gateway.workers.worker import Worker

_PUBLISHED = "config"


def for_worker(config: Config, worker: Worker | None) -> Config:
    """Return the configuration for one worker.

    What would be kept in the memory of one process is kept in files of the gateway, which end with
    it. Limits of `[providers]` and `[models]` that are not in Redis are divided by the number of
    workers, so that all together keep them.

    Args:
        config: the configuration.
        worker: the worker; `None` for a gateway of one process, whose configuration is unchanged.
    """
    if worker is None:
        return config
    changes: dict[str, object] = {}
    if config.conversations.store == "memory":
        store = f"file:{worker.folder}/conversations.sqlite"
        changes["conversations"] = replace(config.conversations, store=store)
    if config.responses.store == "memory":
        store = f"file:{worker.folder}/responses.sqlite"
        changes["responses"] = replace(config.responses, store=store)
    if config.shared.redis is None:
        count = worker.board.workers
        changes["providers"] = {
            name: replace(one, limit=divide(one.limit, count))
            for name, one in config.providers.items()
        }
        changes["models"] = {
            name: replace(one, limit=divide(one.limit, count))
            for name, one in config.models.items()
        }
    return replace(config, **changes)


def publish(config: Config, folder: Path) -> None:
    """Write a configuration that was checked, for all workers of a gateway.

    They do not read the file of the user: it may have changed since, or be half written.
    """
    path = folder / _PUBLISHED
    new = path.with_suffix(".new")
    new.touch(0o600)
    new.write_bytes(msgspec.msgpack.encode(config))
    new.replace(path)


def published(folder: Path) -> Config:
    """Return the configuration that was published last."""
    return msgspec.msgpack.decode((folder / _PUBLISHED).read_bytes(), type=Config)


def divide(limit: LimitConfig | None, workers: int) -> LimitConfig | None:
    """Return the share of one worker; it is at least 1."""
    if limit is None:
        return None

    def share(value: int | None) -> int | None:
        return None if value is None else max(value // workers, 1)

    return replace(
        limit,
        concurrent=share(limit.concurrent),
        requests_per_minute=share(limit.requests_per_minute),
        tokens_per_minute=share(limit.tokens_per_minute),
    )
