"""Providers that share tokens by a Redis only, as replicas do, within one process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import msgspec

from berlin.auth.credentials import Credentials
from berlin.auth.tokens.redis_store import RedisStore
from berlin.auth.tokens.shared import SharedTokens
from berlin.auth.tokens.store import Sealer, TokenKey
from berlin.client import Berlin
from berlin.config import Overrides, load_config, resolve_settings
from berlin.types import Secret
from support.token_service import RECIPE, TokenService

SEALER = Sealer(Secret("sixteen letters!"))


def store_of(url: str) -> RedisStore:
    """Return a store of its own in this Redis."""
    return RedisStore(Secret(url), Sealer(Secret("sixteen letters!")))


def key_of(service: TokenService, account: str = "ann") -> TokenKey:
    """Return what the token of an account belongs to."""
    who = Credentials.of(account, f"password of {account}")
    return TokenKey("strict", service.url, account, who.fingerprint())


@asynccontextmanager
async def process_like(
    tmp_path: Path,
    service: TokenService,
    url: str,
    account: str = "ann",
    on_failure: Literal["login", "error"] = "login",
) -> AsyncIterator[Berlin]:
    """Open a provider that shares nothing with others of this process but the Redis."""
    (tmp_path / "strict.toml").write_text(RECIPE)
    config = tmp_path / "berlin.toml"
    config.write_text('[providers.strict]\nrecipe = "strict.toml"\n')
    given = Overrides(url=service.url, account=account, password=f"password of {account}")
    environ = {"BERLIN_CONFIG": str(config)}
    settings = resolve_settings("strict", load_config(config), given, environ)
    tokens = SharedTokens(store_of(url), on_failure)
    async with Berlin.from_settings(msgspec.structs.replace(settings, tokens=tokens)) as berlin:
        yield berlin
