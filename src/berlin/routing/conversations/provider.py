"""Continues conversations kept by a service: each turn follows the one before it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import msgspec

from berlin.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    ContextLengthError,
    InvalidRequestError,
    ProtocolError,
    RateLimitError,
    RequestRejectedError,
)
from berlin.language.tables.keeping import KeepingMap
from berlin.providers.contract import Burst, Bursts, Provider, is_long
from berlin.routing.conversations.fingerprint import Fingerprint, fingerprint
from berlin.routing.conversations.store import Head, Heads
from berlin.types import Accumulator, ChatRequest, Finished

# Longer ids of a service are not remembered: ten thousand of them are kept.
MAX_HEAD_CHARS = 4_096

_LOST = (RequestRejectedError, AuthenticationError)
# After these errors the service has not accepted the turn: the conversation is unchanged.
_UNTOUCHED = (
    ConfigurationError,
    ConnectError,
    InvalidRequestError,
    RateLimitError,
)


class Conversations:
    """Finds the conversation that a request continues, and sends only what is new.

    A conversation belongs to one tenant, provider, account, model, set of tools and session, and
    is continued only where the service has seen exactly what the client has: any difference (an
    edited or compacted history, a regenerated answer, a concurrent request, a failed turn) starts a
    new conversation with the whole history, or a branch if the service has them. A first turn
    always starts one.

    Args:
        inner: the service's provider, possibly wrapped.
        keeping: how the service keeps conversations.
        heads: the store of heads.
        scope: identifies the service and the account.
        new_id: makes conversation ids, if the client assigns them.
    """

    def __init__(
        self,
        inner: Provider,
        keeping: KeepingMap,
        heads: Heads,
        scope: Sequence[str] = (),
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self.inner = inner
        self._keeping = keeping
        self._heads = heads
        self._scope = tuple(scope)
        self._new_id = new_id

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        if request.conversation_id:
            return self.inner.bursts(request)  # the caller tracks the conversation itself
        return self._answer(request)

    async def aclose(self) -> None:
        """Release connections."""
        await self.inner.aclose()
        await self._heads.aclose()

    async def _answer(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        scope = (*self._scope, request.tenant)
        if is_long(request):
            history = await asyncio.to_thread(fingerprint, scope, request)
        else:
            history = fingerprint(scope, request)
        head = None
        if history.before:
            head = await self._heads.take(history.before, keep=self._keeping.branches)
        if head is not None:
            turn = msgspec.structs.replace(
                request,
                conversation_id=head.conversation_id,
                parent_id=head.message_id,
                known_messages=history.known,
            )
            has_begun = False
            try:
                async with aclosing(self._turn(turn, history, head)) as bursts:
                    async for burst in bursts:
                        has_begun = True
                        yield burst
                return
            except _LOST as error:
                # The service has deleted the conversation, or will not continue it. Some answer 401
                # then, also to a new token; the error of a login that failed is private.
                if has_begun or isinstance(error, ContextLengthError):
                    raise
                if error.private:
                    await self._heads.put(history.before, head)
                    raise
            except _UNTOUCHED:
                if not has_begun and not self._keeping.branches:
                    await self._heads.put(history.before, head)
                raise
        chosen = self._new_id() if self._keeping.id == "client" else ""
        restart = msgspec.structs.replace(request, conversation_id=chosen, known_messages=0)
        async with aclosing(self._turn(restart, history, None)) as bursts:
            async for burst in bursts:
                yield burst

    async def _turn(
        self, request: ChatRequest, history: Fingerprint, head: Head | None
    ) -> AsyncGenerator[Burst]:
        """Answer in one conversation; its new head is stored once the answer is complete."""
        answer: Accumulator | None = Accumulator()
        async with aclosing(self.inner.bursts(request)) as bursts:
            async for burst in bursts:
                answer = _add(answer, burst)
                end = burst[-1]
                # Stored before the client sees that the answer is complete and sends its next turn.
                if isinstance(end, Finished) and answer is not None:
                    new = _head_after(end, request, head)
                    if new is not None:
                        await self._heads.put(history.after(answer.response().parts), new)
                yield burst


def _head_after(end: Finished, request: ChatRequest, head: Head | None) -> Head | None:
    asked = request.conversation_id
    conversation = end.conversation_id or asked
    if not conversation or (head is not None and conversation != asked):
        return None  # it answered in a different conversation: it has lost the named one
    if len(conversation) + len(end.message_id) > MAX_HEAD_CHARS:
        return None
    return Head(conversation, end.message_id)


def _add(answer: Accumulator | None, burst: Burst) -> Accumulator | None:
    """Add events; return `None` if the answer is too long to be remembered. It streams on."""
    if answer is not None:
        try:
            answer.add_all(burst)
        except ProtocolError:
            return None
    return answer
