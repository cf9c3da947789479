"""The accounts for the running gateway: in memory, and at most a moment old."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from berlin.errors import ConfigurationError
from berlin.gateway.access.accounts import Account, Accounts, load_accounts
from berlin.gateway.access.fresh import Fresh


class AccountReader(Accounts):
    """The accounts in a file, read again when they are used and it has changed; see `Fresh`.

    Args:
        path: the file of `Accounts.save`; without it there are no accounts.
        clock: seconds since the epoch.
        monotonic: a monotonic clock, in seconds.

    Raises:
        ConfigurationError: if the file is unsafe, unreadable, or from a newer version.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(clock=clock)
        self._path = path
        self._seen: object = ()
        self._fresh = Fresh("accounts", self._read, self._accounts.clear, monotonic)
        self._read()

    @property
    def known(self) -> dict[str, Account]:
        """The accounts, by name."""
        self._fresh.check()
        return self._accounts

    def _read(self) -> None:
        state = self._state()
        if state == self._seen:
            return
        try:
            accounts = load_accounts(self._path)
        except ConfigurationError:
            self._seen = ()  # it is read again, even if it does not change
            raise
        self._accounts.clear()
        self._accounts.update(accounts)
        self._seen = state

    def _state(self) -> object:
        with suppress(OSError):
            status = self._path.lstat()
            return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
        return None
