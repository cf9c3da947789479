"""Checks the passwords of logins, slowly enough to make guessing and floods useless."""

from __future__ import annotations

import logging

from berlin.errors import KeyRefusedError, OverloadedError
from berlin.gateway.access.accounts import HASHES_AT_ONCE, MAX_PASSWORD_BYTES, Accounts
from berlin.gateway.access.admission import Admission
from berlin.gateway.access.caller import MAX_NAME_CHARS
from berlin.gateway.access.origin import network_of
from berlin.gateway.access.throttle import ADDRESS_PACE, Pace, Sketch, Throttle
from berlin.gateway.workers.worker import Worker
from berlin.types import Secret

# Wrong passwords: for one account from one address, and for one account from everywhere. The latter
# is mild, because others could use it to lock the owner out.
PAIR_PACE = Pace(free=4, first_wait_s=2.0, longest_wait_s=300.0)
ACCOUNT_PACE = Pace(free=100, first_wait_s=0.5, longest_wait_s=10.0)
WAITING = 64
WAIT_S = 10.0

_log = logging.getLogger("berlin.gateway")


class Logins:
    """Verifies logins.

    The cheap checks come first: too many wrong passwords, or a full queue. Only then is the
    password hashed, in a bounded pool with a queue that is fair to addresses: a flood from one
    address delays only itself. An address from which an account has logged in before is slowed down
    only by its own wrong passwords.

    Args:
        accounts: the accounts.
        worker: which of several workers this process is; they count wrong passwords together.
    """

    def __init__(self, accounts: Accounts, worker: Worker | None = None) -> None:
        self._accounts = accounts
        self._pairs = Throttle(PAIR_PACE, sketch=Sketch.of(worker, "pairs"))
        self._addresses = Throttle(ADDRESS_PACE, sketch=Sketch.of(worker, "addresses"))
        self._names = Throttle(ACCOUNT_PACE, sketch=Sketch.of(worker, "names"))
        self._line = Admission(HASHES_AT_ONCE, WAITING, WAIT_S)

    async def check(self, address: str, account: str, password: Secret) -> None:
        """Check a login.

        Raises:
            KeyRefusedError: if account or password is wrong.
            OverloadedError: if it has to wait; its password was not checked.
        """
        origin = network_of(address)
        account = account[: MAX_NAME_CHARS + 1]
        self._check_pace(origin, account)
        # An impossible password is not hashed, but counts as a guess all the same.
        size = len(password.reveal().encode("utf-8", "surrogatepass"))
        right = False
        if self._accounts.known and 0 < size <= MAX_PASSWORD_BYTES:
            async with self._line.enter(origin):
                self._check_pace(origin, account)  # others may have guessed in the meantime
                right = await self._accounts.verify(account, password)
        pair = (origin, account)
        if not right or self._accounts.caller(account) is None:
            self._pairs.fail(pair)
            if not self._pairs.has_succeeded(pair):
                self._addresses.fail(origin)
                self._names.fail(account)
            raise KeyRefusedError("wrong account or password")
        self._pairs.succeed(pair)

    def _check_pace(self, origin: str, account: str) -> None:
        pair = (origin, account)
        wait = self._pairs.wait(pair)
        if not self._pairs.has_succeeded(pair):
            wait = max(wait, self._addresses.wait(origin), self._names.wait(account))
        if wait:
            _log.warning("login.throttled account=%r", account[:64])
            raise OverloadedError("too many wrong passwords; wait", retry_after=wait)
