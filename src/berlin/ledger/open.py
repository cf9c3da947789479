"""Opens the configured ledger."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from berlin.config import LedgerConfig, data_path
from berlin.config.references import resolve_value
from berlin.errors import ConfigurationError, UnavailableError
from berlin.ledger.figures import Figures, Query
from berlin.ledger.recorder import Recorder
from berlin.types import Secret

_T = TypeVar("_T")

_log = logging.getLogger("berlin.ledger")


def open_recorder(config: LedgerConfig, environ: Mapping[str, str]) -> Recorder:
    """Return the recorder. A database that is away is waited for: rows are kept until it is back.

    Raises:
        ConfigurationError: if something in the configuration is wrong, a package is missing, or
            the database lacks migrations.
    """
    url = url_of(config, environ)
    with _packages():
        from berlin.ledger.database.engine import place_of
        from berlin.ledger.database.store import Store
    try:
        _run(_sums(url, None))
    except UnavailableError as error:
        _log.error("ledger.away rows are kept until it is back: %s", error.message)
    journals = Path(os.path.expanduser(config.journal)) if config.journal else data_path("ledger")
    # Rows that another process has left behind must not go into another database than its own.
    folder = journals / place_of(url)
    try:
        return Recorder(
            folder,
            config.journal_bytes,
            lambda: Store(url),
            config.on_failure,
            config.keep_days,
        )
    except OSError as error:
        raise ConfigurationError(
            f"the journal of the ledger, {folder}: {error.strerror or error}"
        ) from error


def read_sums(config: LedgerConfig, environ: Mapping[str, str], query: Query) -> list[Figures]:
    """Return the figures of a query, for a command.

    Raises:
        ConfigurationError: if the database lacks migrations, or the configuration is wrong.
        UnavailableError: if the database is away.
    """
    return _run(_sums(url_of(config, environ), query))


def upgrade_ledger(
    config: LedgerConfig, environ: Mapping[str, str]
) -> tuple[str | None, str | None]:
    """Run the missing migrations; return the revision before and after.

    Raises:
        ConfigurationError: if the configuration is wrong, or a package is missing.
        UnavailableError: if the database cannot be used.
    """
    with _packages():
        from berlin.ledger.database.upgrade import upgrade

        return _run(upgrade(url_of(config, environ)))


def url_of(config: LedgerConfig, environ: Mapping[str, str]) -> Secret:
    """Return the URL of the database. Raises ConfigurationError."""
    given = resolve_value(config.url, "ledger.url", environ)
    return Secret(given or f"sqlite:///{data_path('ledger.sqlite')}")


async def _sums(url: Secret, query: Query | None) -> list[Figures]:
    """Check the tables, and return the figures of a query, if there is one."""
    with _packages():
        from berlin.ledger.database.store import Store

        rows = Store(url)
    try:
        await rows.check()
        return await rows.sums(query) if query is not None else []
    finally:
        await rows.close()


@contextmanager
def _packages() -> Iterator[None]:
    """Import what only the ledger needs."""
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"the ledger needs {error.name}: pip install 'berlin-llm[ledger]'"
        ) from error


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run to the end, also where a loop runs already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
