"""Brings the ledger's tables to this release: `berlin ledger upgrade`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from sqlalchemy import text

from berlin.ledger.database.engine import open_engine
from berlin.ledger.database.failures import as_unavailable
from berlin.ledger.database.partitions import LOCK
from berlin.ledger.database.store import revision_of
from berlin.types import Secret


async def upgrade(url: Secret) -> tuple[str | None, str | None]:
    """Run the missing migrations; return the revision before and after.

    Raises:
        ConfigurationError: if the URL is wrong.
        UnavailableError: if the database cannot be used; then nothing has changed.
    """
    engine = open_engine(url)
    try:
        async with as_unavailable(), engine.begin() as connection:
            # If several run at the same time, the first one does the work.
            first = LOCK if engine.dialect.name == "postgresql" else text("BEGIN IMMEDIATE")
            await connection.execute(first)
            return await connection.run_sync(_run)
    finally:
        await engine.dispose()


def _run(connection: Any) -> tuple[str | None, str | None]:
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    logging.getLogger("alembic").setLevel(logging.WARNING)
    before = revision_of(connection)
    command.upgrade(config, "head")
    return before, revision_of(connection)
