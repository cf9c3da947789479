"""Answers identical requests from a cache."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Protocol

import msgspec

from berlin.errors import ProtocolError
from berlin.providers.contract import Burst, Bursts, Provider
from berlin.routing.base.answer import Opening, ReadyBursts
from berlin.routing.base.attempts import split_started
from berlin.routing.base.clock import Clock
from berlin.routing.base.wrapper import Wrapper
from berlin.types import AnswerLimit, ChatRequest, Finished, TextDelta

KEEP_S = 3600.0
MAX_ENTRIES = 1000
MAX_CHARS = 32 * 1024 * 1024


class AnswerStore(Protocol):
    """A store of answers, in this process or shared."""

    async def load(self, key: str) -> tuple[Sequence[Burst], float] | None:
        """Return an answer and its age in seconds, if there is a fresh one."""
        ...

    def save(self, key: str, bursts: Sequence[Burst]) -> None:
        """Store an answer, without waiting."""
        ...


class MemoryAnswers:
    """Stores answers in this process; the least recently used are evicted first.

    Args:
        clock: a monotonic clock, in seconds.
        keep_s: seconds that an answer stays valid.
        max_entries: the most entries kept.
        max_chars: the most text of all entries together.
    """

    def __init__(
        self,
        clock: Clock = time.monotonic,
        keep_s: float = KEEP_S,
        max_entries: int = MAX_ENTRIES,
        max_chars: int = MAX_CHARS,
    ) -> None:
        self._clock = clock
        self._keep_s = keep_s
        self._max_entries = max_entries
        self._max_chars = max_chars
        # When it was stored, its bursts, and its size.
        self._kept: OrderedDict[str, tuple[float, Sequence[Burst], int]] = OrderedDict()
        self._chars = 0

    async def load(self, key: str) -> tuple[Sequence[Burst], float] | None:
        """Return an answer and its age in seconds, if there is a fresh one."""
        if key not in self._kept:
            return None
        at, bursts, _ = self._kept[key]
        age = self._clock() - at
        if age >= self._keep_s:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return bursts, age

    def save(self, key: str, bursts: Sequence[Burst]) -> None:
        """Store an answer."""
        size = sum(len(e.text) if type(e) is TextDelta else 100 for b in bursts for e in b)
        if size > self._max_chars:
            return
        if key in self._kept:
            self._drop(key)
        self._kept[key] = (self._clock(), tuple(bursts), size)
        self._chars += size
        while len(self._kept) > self._max_entries or self._chars > self._max_chars:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        self._chars -= self._kept.pop(key)[2]


class Cache(Wrapper):
    """Caches complete answers, and replays them for the same request of the same tenant.

    The key is the whole request. Requests with tools, and those in a conversation kept by the
    service, are never answered from the cache; answers ended by a content filter are not stored.

    Args:
        inner: the provider.
        answers: the store; by default in this process.
        tools_too: whether requests with tools are cached too.
        name: distinguishes this cache from others in the same store.
    """

    def __init__(
        self,
        inner: Provider,
        answers: AnswerStore | None = None,
        *,
        tools_too: bool = False,
        name: str = "",
    ) -> None:
        super().__init__(inner)
        self.answers = answers or MemoryAnswers()
        self._tools_too = tools_too
        self._name = name

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        key = self.key_of(request)
        if key is None:
            return self.inner.bursts(request)
        return Opening(partial(self._begin, key), request)

    def key_of(self, request: ChatRequest) -> str | None:
        """Return the cache key of a request, or `None` if it is not cached."""
        if (request.tools and not self._tools_too) or request.conversation_id:
            return None
        asked = msgspec.structs.replace(
            request,
            request_id="",
            session_id="",
            timeouts=None,
            stream=True,
            whole=False,
            retried=False,
        )
        try:
            data = _encoder.encode((self._name, asked))
        except (TypeError, ValueError):  # an option that only its provider can encode
            return None
        return blake2b(data, digest_size=20).hexdigest()

    async def _begin(self, key: str, answer: Opening, request: ChatRequest) -> Burst:
        found = await self.answers.load(key)
        if found is not None:
            kept, age = found
            started, rest = split_started(kept[0])
            aged = msgspec.structs.replace(started, attempts=0, failed=(), age_s=age, began_at=0.0)
            answer.asked = ReadyBursts(kept[1:])
            return [aged, *rest]
        recording = _Recording(partial(self.answers.save, key))
        return await answer.ask_watched(self.inner, request, lambda how: None, recording.note)


class _Recording:
    """A copy of an answer, for the store if it completes."""

    def __init__(self, save: Callable[[list[Burst]], None]) -> None:
        self._save = save
        self._bursts: list[Burst] = []
        self._limit = AnswerLimit()

    def note(self, burst: Burst) -> None:
        """Record a burst."""
        try:
            for event in burst:
                self._limit.count(event)
        except ProtocolError:  # too long to be cached; it continues to stream
            self._bursts.clear()
            return
        self._bursts.append(burst)
        last = burst[-1]
        if type(last) is Finished and last.reason != "content_filter":
            self._save(self._bursts)


_encoder = msgspec.msgpack.Encoder(order="deterministic")
