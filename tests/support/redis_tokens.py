"""Providers that share tokens by a Redis only, as replicas do, within one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from berlin.auth.tokens.redis_store import RedisStore
from berlin.auth.tokens.store import Sealer
from berlin.client import Berlin
from berlin.types import Secret
from support.token_service import TokenService, opened_with

SEALER = Sealer(Secret("sixteen letters!"))


def store_of(url: str) -> RedisStore:
    """Return a store of its own in this Redis."""
    return RedisStore(Secret(url), Sealer(Secret("sixteen letters!")))


def process_like(
    folder: Path, service: TokenService, url: str, account: str = "ann", **more: Any
) -> Berlin:
    """Return a provider that shares nothing with others of this process but the Redis."""
    return opened_with(folder, service, store_of(url), account, **more)
