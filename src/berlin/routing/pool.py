"""Several accounts of one service: each conversation stays with one of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Container, Mapping
from hashlib import blake2b

import msgspec

from berlin.errors import (
    AuthenticationError,
    BerlinError,
    CircuitOpenError,
    LimitReachedError,
    PermissionDeniedError,
    RateLimitError,
)
from berlin.providers.contract import Burst, Bursts, Provider
from berlin.providers.facade import ChatProvider
from berlin.routing.base.answer import Opening, Passed
from berlin.routing.base.attempts import was_sent, within
from berlin.routing.base.clock import Chance, Clock
from berlin.routing.base.load import Load
from berlin.routing.base.wrapper import is_working, lacks, prefills, timeouts_of
from berlin.types import ChatRequest, Finished, Timeouts

QUARANTINE_S = 60.0
REFUSED_S = 300.0
LONGEST_QUARANTINE_S = 86_400.0


class Pool(ChatProvider):
    """Uses one of several accounts, never two for one request.

    A session named by the client stays with its account, and so does a conversation kept by the
    service: its id, as seen from outside, is `account:id`, so every process knows whose it is.
    Other requests go to the least busy account. An account whose limit is reached is not used until
    the time the service names, and a refused one for five minutes. The request that hit the limit
    fails; a `Fallback` around the pool can try another service for it.

    Args:
        accounts: the providers, by account name.
        before: the pool that this one replaces: its quarantines go on.
        chance: numbers from 0 to 1.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        accounts: Mapping[str, Provider],
        *,
        before: Pool | None = None,
        chance: Chance = random.random,
        clock: Clock = time.monotonic,
    ) -> None:
        if not accounts:
            raise ValueError("Pool needs at least one account")
        self.accounts = {name: Load(provider, 1.0, clock) for name, provider in accounts.items()}
        self.clock = clock
        self._chance = chance
        # The same object as before: answers that the earlier pool still gives are recorded too.
        self._until: dict[str, float] = before._until if before else {}

    @property
    def timeouts(self) -> Timeouts:
        """The limits of requests that set none."""
        return timeouts_of(next(iter(self.accounts.values())))

    @property
    def working(self) -> bool:
        """Whether one of the accounts works, as far as observed."""
        return any(is_working(account) for account in self.accounts.values())

    @property
    def prefills(self) -> bool | None:
        """Whether the service can continue a started answer (prefill); `None` if unknown."""
        return prefills(next(iter(self.accounts.values())))

    def lacks(self, request: ChatRequest) -> str:
        """Return what a request needs and the service is known to lack."""
        return lacks(next(iter(self.accounts.values())), request)

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        return _OfOneAccount(self, request)

    def owner(self, request: ChatRequest) -> str:
        """Return the account that has a request's conversation; `""` if it begins one."""
        owner, _, _ = request.conversation_id.partition(":")
        return owner if owner in self.accounts else ""

    def choose(self, request: ChatRequest, tried: Container[str] = ()) -> str:
        """Return the account for a request.

        Args:
            request: the request.
            tried: accounts that could not send it.

        Raises:
            LimitReachedError: if all eligible accounts are in quarantine; nothing was sent.
        """
        now = self.clock()
        owner = self.owner(request)
        if owner:
            self._check(owner, now)
            return owner
        left = [name for name in self.accounts if name not in tried]
        able = [name for name in left if self._until.get(name, 0.0) <= now]
        if not able:
            self._check(min(left, key=lambda name: self._until[name]), now)
        able = [name for name in able if is_working(self.accounts[name])] or able
        if request.session_id:
            # The same in every process, and few sessions move when an account is added or removed.
            return max(able, key=lambda name: _score(request.tenant, request.session_id, name))
        return min(able, key=lambda name: (self.accounts[name].open, self._chance()))

    def note(self, name: str, error: BerlinError) -> None:
        """Put an account in quarantine if the error requires it."""
        match error:
            case RateLimitError():
                seconds = QUARANTINE_S if error.retry_after is None else error.retry_after
            case CircuitOpenError():
                seconds = max(error.retry_after or 0.0, 1.0)
            case AuthenticationError() | PermissionDeniedError():
                seconds = REFUSED_S
            case _:
                return
        self._until[name] = self.clock() + min(seconds, LONGEST_QUARANTINE_S)

    async def aclose(self) -> None:
        """Release connections."""
        await asyncio.gather(*(account.aclose() for account in self.accounts.values()))

    def _check(self, name: str, now: float) -> None:
        wait = self._until.get(name, 0.0) - now
        if wait > 0:
            raise LimitReachedError(
                f"the limit of the account {name!r} is reached for {wait:.0f} s; nothing was sent",
                retry_after=wait,
            )


class _OfOneAccount(Opening):
    """The answer of one account."""

    def __init__(self, pool: Pool, request: ChatRequest) -> None:
        super().__init__()
        self._pool = pool
        self._request = request

    async def _begin(self) -> Burst:
        pool = self._pool
        tried: set[str] = set()
        ends_at = pool.clock() + (self._request.timeouts or pool.timeouts).total
        while True:
            name = pool.choose(self._request, tried)
            own_id = self._request.conversation_id.removeprefix(f"{name}:")
            request = msgspec.structs.replace(self._request, conversation_id=own_id)
            request = within(request, pool.timeouts, ends_at - pool.clock())
            try:
                first = await self._ask(pool.accounts[name], request)
                break
            except BerlinError as error:
                pool.note(name, error)
                # Only if nothing was sent may another account be tried.
                tried.add(name)
                if any(attempt.sent for attempt in error.failed) or was_sent(error):
                    raise
                if tried >= set(pool.accounts) or pool.owner(self._request):
                    raise
        self._asked = _OfAccount(self._asked, name)
        return _with_account(first, name)


class _OfAccount(Passed):
    """An answer whose conversation is named with its account."""

    def __init__(self, answer: Bursts, name: str) -> None:
        super().__init__(answer)
        self._name = name

    async def __anext__(self) -> Burst:
        return _with_account(await self._answer.__anext__(), self._name)


def _with_account(burst: Burst, name: str) -> Burst:
    last = burst[-1]
    if type(last) is not Finished or not last.conversation_id:
        return burst
    named = msgspec.structs.replace(last, conversation_id=f"{name}:{last.conversation_id}")
    return [*burst[:-1], named]


def _score(*parts: str) -> bytes:
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
