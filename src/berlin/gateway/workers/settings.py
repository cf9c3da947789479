"""The configuration as one of several workers uses it: what would be in memory is shared."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec.structs import replace

from berlin.config import Config
from berlin.gateway.workers.worker import Worker

_PUBLISHED = "config"


def for_worker(config: Config, worker: Worker | None) -> Config:
    """Return the configuration for one worker.

    What would be kept in the memory of one process is kept in files of the gateway, which end with
    it.

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
