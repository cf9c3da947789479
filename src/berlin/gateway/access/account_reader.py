"""The accounts for the running gateway: in memory, and at most a moment old."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from berlin.errors import ConfigurationError
from berlin.gateway.access.accounts import Accounts, load_accounts
from berlin.gateway.access.caller import Caller
from berlin.gateway.access.key_reader import CHECK_EVERY_S, TRUSTED_FOR_S
from berlin.types import Secret

_log = logging.getLogger("berlin.gateway")


class AccountReader(Accounts):
    """The accounts in a file, read again when it has changed.

    It is looked at when an account is used, at most every `CHECK_EVERY_S`. When it cannot be read,
    the last known accounts stay valid for `TRUSTED_FOR_S`, and then nobody is let in until it can.

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
        self._path = path
        self._monotonic = monotonic
        self._seen = self._state()
        super().__init__(load_accounts(path), clock)
        self._checked_at = self._good_at = monotonic()
        self._failing = False

    def __len__(self) -> int:
        self.refresh()
        return super().__len__()

    def caller(self, name: str) -> Caller | None:
        """Return the permissions of an account; `None` if it does not exist or has expired."""
        self.refresh()
        return super().caller(name)

    async def verify(self, name: str, password: Secret) -> bool:
        """Return whether the password is right. An unknown name takes just as long."""
        self.refresh()
        return await super().verify(name, password)

    def refresh(self) -> None:
        """Read the file again if it has changed, at most every `CHECK_EVERY_S`."""
        now = self._monotonic()
        if now - self._checked_at < CHECK_EVERY_S:
            return
        self._checked_at = now
        state = self._state()
        if state == self._seen and not self._failing:
            self._good_at = now
            return
        try:
            self.replace(load_accounts(self._path))
        except ConfigurationError as error:
            if not self._failing:
                _log.error("accounts.unreadable error=%s", error.message)
            self._failing = True
            if now - self._good_at > TRUSTED_FOR_S:
                self.replace({})
            return
        if self._failing:
            _log.warning("accounts.readable path=%s", self._path)
        self._seen, self._failing, self._good_at = state, False, now

    def _state(self) -> tuple[int, int, int, int] | None:
        try:
            status = self._path.lstat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
