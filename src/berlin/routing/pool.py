"""Several accounts of one service: each conversation stays with one of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b

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
from berlin.routing.base.answer import Opening
from berlin.routing.base.clock import Chance, Clock
from berlin.routing.base.load import Load
from berlin.routing.base.wrapper import is_working, lacks, prefills, timeouts_of
from berlin.types import ChatRequest, Finished, Timeouts

QUARANTINE_S = 60.0
REFUSED_S = 300.0
LONGEST_QUARANTINE_S = 86_400.0
MAX_CONVERSATIONS = 10_000


class Pool(ChatProvider):
    """Uses one of several accounts, never two for one request.

    A conversation kept by the service, or a session named by the client, stays with its account.
    Others go to the least busy account. An account whose limit is reached is not used until the
    time the service names, and a refused one for five minutes. The request that hit the limit
    fails; a `Fallback` around the pool can try another service for it.

    Args:
        accounts: the providers, by account name.
        chance: numbers from 0 to 1.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        accounts: Mapping[str, Provider],
        *,
        chance: Chance = random.random,
        clock: Clock = time.monotonic,
    ) -> None:
        if not accounts:
            raise ValueError("Pool needs at least one account")
        self.accounts = {name: Load(provider, 1.0, clock) for name, provider in accounts.items()}
        self.clock = clock
        self._chance = chance
        self._until: dict[str, float] = {}
        self._conversations: OrderedDict[tuple[str, str], str] = OrderedDict()

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

    def choose(self, request: ChatRequest) -> str:
        """Return the account for a request.

        Raises:
            LimitReachedError: if all eligible accounts are in quarantine; nothing was sent.
        """
        now = self.clock()
        kept = self._conversations.get((request.tenant, request.conversation_id))
        if request.conversation_id and kept is not None:
            self._check(kept, now)
            return kept
        able = [name for name in self.accounts if self._until.get(name, 0.0) <= now]
        if not able:
            self._check(min(self.accounts, key=lambda name: self._until[name]), now)
        able = [name for name in able if is_working(self.accounts[name])] or able
        if request.session_id:
            # The same in every process, and few sessions move when an account is added or removed.
            return max(able, key=lambda name: _score(request.tenant, request.session_id, name))
        return min(able, key=lambda name: (self.accounts[name].open, self._chance()))

    def keep(self, request: ChatRequest, conversation_id: str, name: str) -> None:
        """Record which account has a conversation."""
        key = (request.tenant, conversation_id)
        self._conversations[key] = name
        self._conversations.move_to_end(key)
        if len(self._conversations) > MAX_CONVERSATIONS:
            self._conversations.popitem(last=False)

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
    """The answer of one account; at its end, its conversation is recorded."""

    def __init__(self, pool: Pool, request: ChatRequest) -> None:
        super().__init__()
        self._pool = pool
        self._request = request
        self._name = ""

    async def _begin(self) -> Burst:
        pool = self._pool
        while True:
            self._name = pool.choose(self._request)
            try:
                first = await self._ask(pool.accounts[self._name], self._request)
                break
            except CircuitOpenError as error:
                pool.note(self._name, error)
                if any(attempt.sent for attempt in error.failed):
                    raise
                # Nothing was sent, so another account may be tried; `choose` ends the loop.
            except BerlinError as error:
                pool.note(self._name, error)
                raise
        self._note_end(first)
        if type(first[-1]) is not Finished:
            self._asked = _Ending(self._asked, self)
        return first

    def _note_end(self, burst: Burst) -> None:
        last = burst[-1]
        if type(last) is Finished and last.conversation_id:
            self._pool.keep(self._request, last.conversation_id, self._name)


class _Ending:
    """An answer whose last event is examined."""

    def __init__(self, answer: Bursts, owner: _OfOneAccount) -> None:
        self._answer = answer
        self._owner = owner
        self.aclose = answer.aclose

    def __aiter__(self) -> _Ending:
        return self

    async def __anext__(self) -> Burst:
        burst = await self._answer.__anext__()
        self._owner._note_end(burst)
        return burst


def _score(*parts: str) -> bytes:
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
