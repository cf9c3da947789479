"""Adds, lists, rotates and revokes API keys in PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from berlin.errors import ConfigurationError
from berlin.gateway.access.keys import Key, digest, new_key, new_token
from berlin.gateway.access.shared_keys.table import (
    LOCK,
    Row,
    close,
    connect,
    create,
    failures,
    put,
    rows,
)
from berlin.types import Secret

_T = TypeVar("_T")


class PostgresKeyStore:
    """The keys of gateways on several machines; each call opens a connection. See `KeyStore`.

    Args:
        url: `postgresql://…`, with its password.
        clock: seconds since the epoch.
    """

    def __init__(self, url: Secret, clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._clock = clock

    def add(
        self,
        name: str,
        models: Sequence[str] = (),
        expires_at: float | None = None,
        requests_per_minute: int | None = None,
        *,
        user: str = "",
        scopes: Sequence[str] = (),
        limits: Sequence[str] = (),
    ) -> tuple[Key, Secret]:
        """Create a key, and return it with its token, the only copy. See `KeyStore.add`."""
        key = new_key(
            name,
            self._clock(),
            models=models,
            expires_at=expires_at,
            requests_per_minute=requests_per_minute,
            user=user,
            scopes=scopes,
            limits=limits,
        )
        token = new_token()

        async def work(connection: Any) -> None:
            if await self._live(connection, name):
                raise ConfigurationError(
                    f"there is a live key {name!r}: revoke it first, or take another name"
                )
            await put(connection, Row(key, digest(token), None))

        self._run(work)
        return key, Secret(token)

    def entries(self) -> list[Key]:
        """Return all keys. Raises ConfigurationError."""

        async def work(connection: Any) -> list[Key]:
            return [row.key for row in await rows(connection)]

        return self._run(work)

    def rotate(self, name_or_id: str, grace_s: float) -> tuple[Key, Secret] | None:
        """Give a key a new token. See `KeyStore.rotate`."""
        token = new_token()

        async def work(connection: Any) -> Key | None:
            live = await self._live(connection, name_or_id)
            if not live:
                return None
            (row, *_) = live
            until = self._clock() + grace_s
            key = msgspec.structs.replace(row.key, old_expires_at=until)
            await put(connection, Row(key, digest(token), row.digest))
            return key

        key = self._run(work)
        return None if key is None else (key, Secret(token))

    def revoke(self, name_or_id: str) -> bool:
        """Revoke a key for good. See `KeyStore.revoke`."""

        async def work(connection: Any) -> bool:
            found = [
                row
                for row in await rows(connection)
                if name_or_id in (row.key.id, row.key.name) and row.key.revoked_at is None
            ]
            for row in found:
                key = msgspec.structs.replace(row.key, revoked_at=self._clock())
                await put(connection, Row(key, row.digest, None))
            return bool(found)

        return self._run(work)

    async def _live(self, connection: Any, name_or_id: str) -> list[Row]:
        now = self._clock()
        return [
            row
            for row in await rows(connection)
            if name_or_id in (row.key.id, row.key.name) and row.key.state(now) == "live"
        ]

    def _run(self, work: Callable[[Any], Awaitable[_T]]) -> _T:
        """Run a transaction while nobody else changes keys.

        Raises:
            ConfigurationError: if the database cannot be used.
        """

        async def transaction() -> _T:
            connection = await connect(self._url)
            try:
                await create(connection)
                async with connection.transaction():
                    await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
                    return await work(connection)
            finally:
                close(connection)

        try:
            return asyncio.run(transaction())
        except ConfigurationError:
            raise
        except Exception as error:
            if not isinstance(error, failures()):
                raise
            reason = f"{type(error).__name__}: {str(error)[:200]}"
            raise ConfigurationError(
                f"the keys in PostgreSQL cannot be used: {reason}; see [keys] store"
            ) from None
