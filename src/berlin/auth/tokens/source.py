"""The life cycle of a token, shared by all who need it; at most one login runs at a time.

        none ──get──> logging in ──grant──> good ──ahead of its expiry──> renewing ──grant──> good
         ^                │                  │                               │
         └──── failed ────┴──── rejected ────┘ <──────────── expired ────────┘

One source serves all coroutines, event loops and threads of a process; with a store behind it,
all processes and replicas.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import os
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import msgspec

from berlin.auth.credentials import Credentials, KeptCredentials
from berlin.auth.grant import Grant
from berlin.auth.tokens.backoff import Backoff, after_failure, stored_failure
from berlin.auth.tokens.shared import SharedTokens
from berlin.auth.tokens.store import Lease, Record, TokenKey
from berlin.errors import (
    AuthenticationError,
    BerlinError,
    MissingCredentialsError,
)
from berlin.types import Secret

RENEW_AHEAD = 0.2
LONGEST_RENEW_AHEAD_S = 300.0
RENEW_AGAIN_S = 5.0
# How long a request waits for the renewal of a token that is still valid.
RENEW_PATIENCE_S = 2.0
# Masking a shorter value of a login, such as a user number, would garble unrelated text.
LONG_CHARS = 12

Login: TypeAlias = Callable[[Secret | None], Awaitable[Grant]]
"""Logs in, with the refresh token if there is one."""


class TokenSource:
    """The token of one key.

    Args:
        shared: the store shared with other processes; `None` keeps it in this one.
        clock: a monotonic clock, in seconds.
        wall: the wall clock, in seconds since 1970.
        jitter: a number from 0 to 1 that spreads renewals.

    Attributes:
        keeps_refresh_token: whether a refresh token stays stored while it is used, because only
            a person could log in again.
        kept: the credentials that the logins use.
    """

    keeps_refresh_token = False

    def __init__(
        self,
        key: TokenKey | None = None,
        shared: SharedTokens | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._key = key or TokenKey("", "", "", "")
        self._shared = shared
        self._clock, self._wall, self._jitter = clock, wall, jitter
        self._lock = threading.Lock()
        self._grant: Grant | None = None
        self._renew_at = self._good_until = 0.0
        self._refresh_token: Secret | None = None
        self._rejected: deque[Secret] = deque(maxlen=16)
        self._values: deque[tuple[Secret, Mapping[str, str]]] = deque(maxlen=16)
        self._login: _Login | None = None
        self._backoff = Backoff(clock, is_shared=shared is not None)
        self.kept = KeptCredentials(Credentials())
        _SOURCES.add(self)

    @property
    def token(self) -> Secret | None:
        """The current token, if there is one."""
        return self._grant.token if self._grant else None

    @property
    def seen(self) -> tuple[Secret, ...]:
        """The current and recently rejected tokens, which must never appear in a message."""
        with self._lock:
            held = (self._grant.token if self._grant else None, self._refresh_token)
            values = (value for _, found in self._values for value in found.values())
            long = (Secret(value) for value in values if len(value) >= LONG_CHARS)
            return (*self._rejected, *(token for token in held if token is not None), *long)

    def values_of(self, token: Secret) -> Mapping[str, str]:
        """Return the other values the login took with this token, if it is recent."""
        with self._lock:
            return next((values for of, values in self._values if of == token), {})

    def expires_at(self, token: Secret) -> float | None:
        """Return when the current token expires, in wall clock seconds since 1970."""
        grant = self._grant
        return grant.expires_at if grant is not None and grant.token == token else None

    def adopt(self, token: Secret | None) -> None:
        """Use a token obtained elsewhere; `None` discards the current one for good."""
        with self._lock:
            if token is None:
                if self._grant is not None:
                    self._rejected.append(self._grant.token)
                self._grant = None
            else:
                self._take(Grant(token, self._wall()))
            self._backoff.clear()

    def reject(self, token: Secret) -> None:
        """Report a token that the service rejected. A newer one stays."""
        with self._lock:
            self._rejected.append(token)
            if self._grant is not None and self._grant.token == token:
                self._grant = None

    async def install(self, grant: Grant) -> None:
        """Use a grant from an interactive login, and share it."""
        with self._lock:
            self._take(grant)
            self._backoff.clear()
        if self._shared is not None:
            async with self._shared.lock(self._key, lambda record: False) as lease:
                await self._shared.save(self._key, Record.of(self._key, grant), lease)

    def at_hand(self) -> Secret | None:
        """Return the token if `get` would not have to wait.

        Raises:
            AuthenticationError: as `get` does for recently rejected credentials.
        """
        with self._lock:
            return self._held()

    async def get(self, login: Login) -> Secret:
        """Return the token, logging in or renewing it if necessary.

        Callers that arrive during a login wait for it, unless the current token is still valid. A
        login continues when the caller that started it is cancelled, and ends when no caller waits.

        Raises:
            AuthenticationError: if the credentials are refused. That is remembered for increasing
                periods without asking the service again, which could lock the account.
            BerlinError: any other error of the login.
        """
        while True:
            with self._lock:
                held = self._held()
                if held is not None:
                    return held
                begins = self._login is None or self._login.is_lost()
                if self._login is None or begins:
                    self._login = _Login()
                running = self._login
                running.waiting += 1
                patience = RENEW_PATIENCE_S if self._is_good(self._clock()) else None
            if begins:
                running.begin(self, login)
            goes_on = False
            try:
                outcome = await asyncio.wait_for(asyncio.wrap_future(running.outcome), patience)
            except TimeoutError:
                goes_on = True  # stopped now, it could lose a refresh token already used
                held = self._still_good()
                if held is not None:
                    return held
                continue
            finally:
                with self._lock:
                    running.waiting -= 1
                    if not running.waiting and not goes_on:
                        running.cancel()
            match outcome:
                case Grant():
                    return outcome.token
                case BerlinError():
                    held = self._still_good()
                    if held is not None:
                        return held
                    raise outcome.again() from outcome
                case BaseException():
                    raise outcome
                case None:
                    continue  # its event loop is gone; try in this one

    def _held(self) -> Secret | None:
        """Return the current token, if there is no login to wait for. Called with the lock held."""
        now = self._clock()
        if self._grant is not None and self._is_good(now):
            renewing = self._login is not None and not self._login.is_lost()
            if now < self._renew_at or renewing or self._backoff.is_on:
                return self._grant.token
        elif self._backoff.is_on:
            self._backoff.check()
        return None

    def _is_good(self, now: float) -> bool:
        return self._grant is not None and now < self._good_until

    def _still_good(self) -> Secret | None:
        """Return the current token after a failed renewal: it may have some time left."""
        with self._lock:
            now = self._clock()
            if self._grant is None or not self._is_good(now):
                return None
            self._renew_at = now + RENEW_AGAIN_S
            return self._grant.token

    def _take(self, grant: Grant) -> None:
        now = self._clock()
        left = math.inf if grant.expires_at is None else grant.expires_at - self._wall()
        if left <= 0:
            left = math.inf  # new and already expired: a clock is wrong; let the service decide
        ahead = min(RENEW_AHEAD * left, LONGEST_RENEW_AHEAD_S)
        self._grant = grant
        if grant.values:
            self._values.appendleft((grant.token, grant.values))
        self._good_until = now + left
        self._renew_at = self._good_until - ahead * (0.5 + 0.5 * self._jitter())
        self._refresh_token = grant.refresh_token

    async def _acquire(self, login: Login) -> Grant:
        """Obtain a grant: from another process that was faster, or by a login under the lock."""
        if self.kept.refused is not None:
            if await self.kept.have_changed():
                with self._lock:
                    self._backoff.clear()
            elif self._backoff.rests:
                self._backoff.check()
        if self._shared is None:
            return await login(self._refresh_token)
        before = self._grant.token if self._grant else None
        found: list[Grant] = []

        def adopted(record: Record | None) -> bool:
            grant = record.grant() if record is not None else None
            if grant is None or grant.token == before or grant.token in self._rejected:
                return False
            if grant.expires_at is not None and grant.expires_at <= self._wall():
                return False
            found[:] = [grant]
            return True

        async with self._shared.lock(self._key, adopted) as lease:
            if found:
                return found[0]
            record = await self._shared.load(self._key)
            if adopted(record):
                return found[0]
            return await self._login_under(self._shared, lease, record, login)

    async def _login_under(
        self, shared: SharedTokens, lease: Lease | None, record: Record | None, login: Login
    ) -> Grant:
        failure = stored_failure(record, self._wall()) if record is not None else None
        if record is not None and await self._has_other_secrets(record):
            record, failure = msgspec.structs.replace(record, refusals=0), None
        if failure is not None:
            raise failure
        if record is None:
            self._backoff.check()
        if lease is None:
            # Without the lock another process may use the refresh token at the same time, and
            # a service that rotates them then ends both sessions.
            try:
                return await login(None)
            except MissingCredentialsError:
                if self._refresh_token is None:
                    raise
                return await login(self._refresh_token)
        refresh = self._refresh_token
        if record is not None:
            refresh = Secret(record.refresh_token) if record.refresh_token else None
            if refresh is not None and not self.keeps_refresh_token:
                # Removed before it is used: if this process dies now, the next one logs in
                # in full instead of using it a second time.
                spent = msgspec.structs.replace(record, refresh_token=None)
                await shared.save(self._key, spent, lease)
        try:
            grant = await login(refresh)
        except BerlinError as error:
            empty = Record.of(self._key, None)
            failed = after_failure(record, empty, error, self._wall(), self.kept.proof)
            if failed is not None:
                await shared.save(self._key, failed, lease)
            raise
        await shared.save(self._key, Record.of(self._key, grant), lease)
        return grant

    async def _has_other_secrets(self, record: Record) -> bool:
        """Whether the stored refusal is one of secrets that have changed since."""
        if not record.refused_proof:
            return False
        await self.kept.have_changed()
        return self.kept.proof != record.refused_proof

    def _settle(self, login: _Login, outcome: Grant | BaseException | None) -> None:
        with self._lock:
            if self._login is login:
                self._login = None
            if isinstance(outcome, Grant):
                self._take(outcome)
                self._backoff.clear()
            elif isinstance(outcome, BerlinError):
                if isinstance(outcome, AuthenticationError):
                    self._refresh_token = None  # it was tried first and is no longer valid
                    self.kept.refused = self.kept.latest
                self._backoff.fail(outcome, self.kept.read_again_s)
        login.outcome.set_result(outcome)

    def _after_fork(self) -> None:
        # The parent's lock may be held, and its login runs in the parent only.
        self._lock = threading.Lock()
        self._login = None


class _Login:
    """One running login. It has its own task, so it outlives the caller that started it."""

    def __init__(self) -> None:
        self.waiting = 0
        # Results only, never an exception: there may be nobody left to retrieve it. Set running, so
        # that a cancelled waiter does not cancel it for the others.
        self.outcome: concurrent.futures.Future[Grant | BaseException | None] = (
            concurrent.futures.Future()
        )
        self.outcome.set_running_or_notify_cancel()
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    def begin(self, source: TokenSource, login: Login) -> None:
        """Log in. Not under the source's lock: an eager task may finish within this call."""
        self._task = self._loop.create_task(self._run(source, login))

    def is_lost(self) -> bool:
        """Whether its event loop was closed, so that it will never finish."""
        return self._loop.is_closed() and not self.outcome.done()

    def cancel(self) -> None:
        if self._task is not None and not self.outcome.done() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)

    async def _run(self, source: TokenSource, login: Login) -> None:
        outcome: Grant | BaseException | None = None
        try:
            outcome = await source._acquire(login)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # every waiter must be released, whatever happened
            outcome = error
        finally:
            source._settle(self, outcome)


_SOURCES: weakref.WeakSet[TokenSource] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for source in list(_SOURCES):
        source._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
