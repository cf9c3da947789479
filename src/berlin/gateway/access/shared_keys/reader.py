"""The API keys in PostgreSQL for the running gateway: in memory, and less than a second old."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from berlin.errors import ConfigurationError
from berlin.gateway.access.fresh import TRUSTED_FOR_S
from berlin.gateway.access.keys import Key, digest
from berlin.gateway.access.shared_keys.table import CHANGED, close, connect, create, failures, rows
from berlin.types import Secret

# Older knowledge is renewed beside the requests that use it; still older, before them. So a
# revoked key is refused within a second.
RENEW_AFTER_S = 0.3
USE_FOR_S = 0.7
# How long a request waits for that when the database is slow.
WAIT_S = 0.5

_log = logging.getLogger("berlin.gateway")


class PostgresKeys:
    """Finds the key of a token, like `KeyReader`; keys are always required.

    While the database cannot be used, the last known keys stay valid for `TRUSTED_FOR_S`, and then
    all clients are refused.

    Args:
        url: `postgresql://…`, with its password.
        clock: seconds since the epoch.
        monotonic: a monotonic clock, in seconds.
    """

    required = True

    def __init__(
        self,
        url: Secret,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._clock = clock
        self._monotonic = monotonic
        self._keys: dict[bytes, Key] = {}
        self._changed: int | None = None
        self._good_at = float("-inf")
        self._connection: Any = None
        self._renewing: asyncio.Task[None] | None = None
        self._failing = False
        self.count = 0

    @property
    def readable(self) -> bool:
        """Whether the keys are known well enough to let anybody in."""
        return self._monotonic() - self._good_at <= TRUSTED_FOR_S

    @property
    def problem(self) -> str:
        """The problem with the keys, in two words; `""` if there is none."""
        return "" if self.readable or self._renewing is None else "keys unreadable"

    def require(self) -> None:
        """Require keys: they always are."""

    def find(self, token: str) -> Key | None:
        """Return the valid key for a token, or `None`."""
        if not self.readable:
            return None
        key = self._keys.get(digest(token))
        return key if key is not None and key.state(self._clock()) == "live" else None

    async def prepare(self) -> None:
        """Make sure that the keys are known, and less than a second old if that is possible."""
        age = self._monotonic() - self._good_at
        if age < RENEW_AFTER_S:
            return
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.get_running_loop().create_task(self._renew())
        if age >= USE_FOR_S:
            await asyncio.wait({self._renewing}, timeout=WAIT_S)

    def close(self) -> None:
        """Close the connection."""
        if self._renewing is not None:
            self._renewing.cancel()
        if self._connection is not None:
            close(self._connection)
        self._connection = None

    async def _renew(self) -> None:
        asked_at = self._monotonic()
        try:
            await self._look()
        except Exception as error:
            if self._connection is not None:
                close(self._connection)
            self._connection = self._changed = None
            if not isinstance(error, (ConfigurationError, *failures())):
                raise
            if not self._failing:
                reason = f"{type(error).__name__}: {str(error)[:200]}".replace("\n", " ")
                _log.error("keys.unreadable error=%s", reason)
            self._failing = True
            return
        if self._failing:
            _log.warning("keys.readable")
        self._failing = False
        self._good_at = asked_at

    async def _look(self) -> None:
        if self._connection is None:
            self._connection = await connect(self._url)
            await create(self._connection)
        changed = await self._connection.fetchval(CHANGED)
        if changed == self._changed:
            return
        found = await rows(self._connection)
        live = [row for row in found if row.key.revoked_at is None]
        self._keys = {stored: key for row in live for stored, key in row.tokens().items()}
        self.count = len(live)
        self._changed = changed
