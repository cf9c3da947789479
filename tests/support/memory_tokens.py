"""What the tests of token sources are made of: a store in memory, logins without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from berlin.auth.grant import Grant
from berlin.auth.tokens.store import Lease, Record, Service, TokenKey
from berlin.types import Secret
from support.clock import Clock


class Store:
    """A store in memory whose operations a test can let fail."""

    timeout_s = 0.2
    forgets = True

    def __init__(self) -> None:
        self.records: dict[TokenKey, Record] = {}
        self.calls: list[str] = []
        self.holder: Lease | None = None
        self.before: Callable[[str], None] = lambda name: None

    def _called(self, name: str) -> None:
        self.calls.append(name)
        self.before(name)

    def load(self, key: TokenKey) -> Record | None:
        self._called("load")
        return self.records.get(key)

    def save(self, key: TokenKey, record: Record, lease: Lease | None) -> None:
        self._called("save")
        self.records[key] = record

    def entries(self) -> list[Record]:
        return list(self.records.values())

    def delete(self, service: Service | None = None) -> int:
        count = len(self.records)
        self.records.clear()
        return count

    def try_lock(self, key: TokenKey) -> Lease | None:
        self._called("try_lock")
        if self.holder is not None:
            return None
        self.holder = Lease(key.digest, 1, object())
        return self.holder

    def extend(self, lease: Lease) -> bool:
        self._called("extend")
        return True

    def unlock(self, lease: Lease) -> None:
        self._called("unlock")
        if self.holder is lease:
            self.holder = None


class Logins:
    """Counts logins; each waits for `gate` and then gives a new token, or raises `failure`."""

    def __init__(self, gate: asyncio.Event | None = None) -> None:
        self.gate = gate
        self.failure: BaseException | None = None
        self.count = self.cancelled = 0

    async def __call__(self, refresh_token: Secret | None = None) -> Grant:
        self.count += 1
        number = self.count
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        return Grant(Secret(f"token-{number}"), 0.0)


class Expiring(Logins):
    """Logins whose tokens are good for 100 seconds, with refresh tokens."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.given: list[Secret | None] = []

    async def __call__(self, refresh_token: Secret | None = None) -> Grant:
        self.given.append(refresh_token)
        grant = await super().__call__()
        refresh = Secret(f"refresh-{self.count}")
        return Grant(grant.token, self.clock.now, self.clock.now + 100, refresh)
