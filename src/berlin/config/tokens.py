"""Opens the token store that the configuration names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from berlin.auth.tokens.file_store import FileStore
from berlin.auth.tokens.redis_store import RedisStore
from berlin.auth.tokens.shared import SharedTokens
from berlin.auth.tokens.store import Sealer, TokenStore
from berlin.config.paths import data_path
from berlin.config.references import resolve_value, unknown_store
from berlin.config.schema import TokensConfig
from berlin.errors import ConfigurationError
from berlin.types import Secret

# One for each setting and folder, so that all providers of a process share the state of a
# store: that it failed a moment ago, for example.
_OPEN: dict[tuple[str, Secret | None, str, Path], SharedTokens] = {}


def open_tokens(config: TokensConfig, environ: Mapping[str, str]) -> SharedTokens | None:
    """Return the shared store, or `None` if tokens stay in this process. Raises ConfigurationError.

    `BERLIN_TOKEN_STORE` and `BERLIN_TOKEN_KEY` take precedence over the file.
    """
    name = environ.get("BERLIN_TOKEN_STORE") or resolve_value(config.store, "tokens.store", environ)
    if name is None or name == "memory":
        return None
    text = environ.get("BERLIN_TOKEN_KEY") or resolve_value(config.key, "tokens.key", environ)
    key = Secret(text) if text else None
    folder = data_path("tokens")
    setting = (name, key, config.on_failure, folder)
    if setting not in _OPEN:
        _OPEN[setting] = SharedTokens(_open(name, key, folder), config.on_failure)
    return _OPEN[setting]


def open_store(config: TokensConfig, environ: Mapping[str, str]) -> TokenStore | None:
    """Return the bare store, for listing and clearing. Raises ConfigurationError."""
    shared = open_tokens(config, environ)
    return shared.store if shared is not None else None


def _open(name: str, key: Secret | None, folder: Path) -> TokenStore:
    sealer = Sealer(key)
    if name == "file":
        return FileStore(folder, sealer)
    if name.startswith(("redis://", "rediss://", "unix://")):
        if key is None:
            raise ConfigurationError(
                "tokens in Redis are encrypted: set tokens.key or BERLIN_TOKEN_KEY, the same "
                "for all replicas"
            )
        return RedisStore(Secret(name), sealer)
    raise unknown_store("tokens.store", name, "memory, file, or redis://…")
