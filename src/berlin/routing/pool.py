"""Several accounts of one service: each conversation stays with one of them."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
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
from berlin.routing.base.answer import Passed
from berlin.routing.base.attempts import was_sent
from berlin.routing.base.clock import Chance, Clock
from berlin.routing.base.load import Load
from berlin.routing.base.wrapper import is_working
from berlin.routing.fallback import Fallback
from berlin.types import ChatRequest, Finished

QUARANTINE_S = 60.0
REFUSED_S = 300.0
LONGEST_QUARANTINE_S = 86_400.0


class Pool(Fallback):
    """Uses one of several accounts, never two for one request.

    A session named by the client stays with its account, and so does a conversation kept by the
    service: its id, as seen from outside, is `account:id`, so every process knows whose it is.
    Other requests go to the least busy account. An account whose limit is reached is not used until
    the time the service names, and a refused one for five minutes. The request that hit the limit
    fails; a `Fallback` around the pool can try another service for it. Another account is tried
    only if nothing was sent.

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
        self.accounts = {name: _Account(self, name, each) for name, each in accounts.items()}
        super().__init__(*self.accounts.values(), clock=clock)
        self._chance = chance
        # The same object as before: answers that the earlier pool still gives are recorded too.
        self._until: dict[str, float] = before._until if before else {}

    def order(self, request: ChatRequest) -> Sequence[Provider]:
        """Return the accounts that may be used for a request, the best first.

        Raises:
            LimitReachedError: if all of them are in quarantine; nothing was sent.
        """
        now, accounts = self.clock(), self.accounts
        owner, _, _ = request.conversation_id.partition(":")
        own = [owner] if owner in accounts else list(accounts)
        able = [name for name in own if self._until.get(name, 0.0) <= now]
        if not able:
            name = min(own, key=lambda name: self._until[name])
            wait = self._until[name] - now
            raise LimitReachedError(
                f"the limit of the account {name!r} is reached for {wait:.0f} s; nothing was sent",
                retry_after=wait,
            )
        if request.session_id:
            # The same in every process, and few sessions move when an account is added or removed.
            able.sort(key=lambda name: _score(request.tenant, request.session_id, name))
        else:
            able.sort(key=lambda name: (accounts[name].open, self._chance()))
        able.sort(key=lambda name: not is_working(accounts[name]))
        return [accounts[name] for name in able]

    def may_fall_back(self, error: BerlinError) -> bool:
        """Return whether another account is tried after this error: only if nothing was sent."""
        return not (was_sent(error) or any(attempt.sent for attempt in error.failed))

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


class _Account(Load):
    def __init__(self, pool: Pool, name: str, inner: Provider) -> None:
        super().__init__(inner, 1.0, time.monotonic)
        self._pool = pool
        self._account = name

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        own_id = request.conversation_id.removeprefix(f"{self._account}:")
        own = msgspec.structs.replace(request, conversation_id=own_id)
        return _OfAccount(super().bursts(own), self._pool, self._account)


class _OfAccount(Passed):
    """An answer of an account: its conversation is named with the account."""

    def __init__(self, answer: Bursts, pool: Pool, name: str) -> None:
        super().__init__(answer)
        self._pool = pool
        self._name = name

    async def __anext__(self) -> Burst:
        try:
            burst = await self._answer.__anext__()
        except BerlinError as error:
            self._pool.note(self._name, error)
            raise
        last = burst[-1]
        if type(last) is not Finished or not last.conversation_id:
            return burst
        named = msgspec.structs.replace(
            last, conversation_id=f"{self._name}:{last.conversation_id}"
        )
        return [*burst[:-1], named]


def _score(*parts: str) -> bytes:
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
