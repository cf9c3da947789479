"""The API keys in PostgreSQL, as `KeyStore` changes them."""

from __future__ import annotations

import asyncio

from berlin.errors import ConfigurationError
from berlin.gateway.access.keys import Change, Row
from berlin.gateway.access.shared_keys.table import (
    LOCK,
    close,
    connect,
    create,
    failures,
    put,
    rows,
)
from berlin.types import Secret


class PostgresTable:
    """The keys of gateways on several machines; each call opens a connection. See `KeyTable`.

    Args:
        url: `postgresql://…`, with its password.
    """

    def __init__(self, url: Secret) -> None:
        self._url = url

    def rows(self) -> list[Row]:
        """Return all keys; see `KeyTable`."""
        return self._run(lambda rows: ())

    def change(self, change: Change) -> None:
        """Change keys; see `KeyTable`."""
        self._run(change)

    def _run(self, change: Change) -> list[Row]:
        """Change keys, and return them as they were before."""
        try:
            return asyncio.run(self._transaction(change))
        except ConfigurationError:
            raise
        except Exception as error:
            if not isinstance(error, failures()):
                raise
            reason = f"{type(error).__name__}: {str(error)[:200]}"
            raise ConfigurationError(
                f"the keys in PostgreSQL cannot be used: {reason}; see [keys] store"
            ) from None

    async def _transaction(self, change: Change) -> list[Row]:
        connection = await connect(self._url)
        try:
            await create(connection)
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
                before = await rows(connection)
                for row in change(before):
                    await put(connection, row)
                return before
        finally:
            close(connection)
