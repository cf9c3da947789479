"""Opens the API keys where the configuration says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from berlin.config import Config
from berlin.config.tokens import resolve_value
from berlin.gateway.access.keys import KeyStore
from berlin.gateway.access.shared_keys.reader import PostgresKeys
from berlin.gateway.access.shared_keys.store import PostgresTable
from berlin.types import Secret


def open_key_store(config: Config, path: Path, environ: Mapping[str, str] = os.environ) -> KeyStore:
    """Return what manages the keys: in PostgreSQL, or in a file.

    Raises:
        ConfigurationError: if the URL is in a place that cannot be read.
    """
    url = _url(config, environ)
    return KeyStore(path if url is None else PostgresTable(url))


def open_shared_keys(
    config: Config, environ: Mapping[str, str] = os.environ
) -> PostgresKeys | None:
    """Return the keys in PostgreSQL for a gateway; `None` if they are in a file."""
    url = _url(config, environ)
    return None if url is None else PostgresKeys(url)


def _url(config: Config, environ: Mapping[str, str]) -> Secret | None:
    value = resolve_value(config.keys.store, "keys.store", environ)
    return None if value is None else Secret(value)
