"""Continues the conversations that a service keeps: each turn follows the one before it."""

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
    RateLimitError,
    RequestRejectedError,
)
from berlin.language.tables.keeping import KeepingMap
from berlin.providers.contract import Burst, Bursts, Provider, is_long
from berlin.routing.conversations.fingerprint import Fingerprint, fingerprint
from berlin.routing.conversations.store import Head, Heads
from berlin.types import Accumulator, ChatRequest, Finished

# With these the service has taken nothing of the turn: the conversation is as it was.
_UNTOUCHED = (
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    InvalidRequestError,
    RateLimitError,
)


class Conversations:
    """Finds the conversation that a request continues, and sends only what is new.

    A conversation belongs to one tenant, provider, account, model, set of tools and session, and
    is continued only where the service has seen exactly what the client has: any difference (an
    edited or compacted history, an answer that was asked for again, a second request at the same
    time, a turn that failed) begins a new conversation with the whole history, or a branch where
    the service has them. A first turn always begins one.

    Args:
        inner: the service, or what is made of it.
        keeping: how the service keeps conversations.
        heads: where the ends of conversations are kept.
        scope: which service and account this is.
        new_id: makes the ids of conversations, where the client names them.
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
            return self.inner.bursts(request)  # the caller keeps count itself
        return self._answer(request)

    async def aclose(self) -> None:
        """Let go of connections."""
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
            answer = _Turn(self, turn, history, head)
            try:
                async with aclosing(answer.bursts()) as bursts:
                    async for burst in bursts:
                        yield burst
                return
            except RequestRejectedError as error:
                # The service has forgotten the conversation, or will not go on with it.
                if answer.has_begun or isinstance(error, ContextLengthError):
                    raise
            except _UNTOUCHED:
                if not answer.has_begun and not self._keeping.branches:
                    await self._heads.put(history.before, head)
                raise
        chosen = self._new_id() if self._keeping.id == "client" else ""
        anew = msgspec.structs.replace(request, conversation_id=chosen, known_messages=0)
        async with aclosing(_Turn(self, anew, history, None).bursts()) as bursts:
            async for burst in bursts:
                yield burst

    async def note(self, history: Fingerprint, answer: Accumulator, head: Head) -> None:
        """Keep where a conversation can be continued after an answer."""
        await self._heads.put(history.after(answer.response().parts), head)


class _Turn:
    """One request in one conversation; its end is kept once the answer is whole."""

    def __init__(
        self,
        conversations: Conversations,
        request: ChatRequest,
        history: Fingerprint,
        head: Head | None,
    ) -> None:
        self._conversations = conversations
        self._request = request
        self._history = history
        self._head = head
        self.has_begun = False

    async def bursts(self) -> AsyncGenerator[Burst]:
        """Give the answer."""
        answer = Accumulator()
        async with aclosing(self._conversations.inner.bursts(self._request)) as bursts:
            async for burst in bursts:
                self.has_begun = True
                for event in burst:
                    answer.add(event)
                end = burst[-1]
                # Kept before the client can know that the answer is whole, and ask on.
                if isinstance(end, Finished):
                    await self._note(answer, end)
                yield burst

    async def _note(self, answer: Accumulator, end: Finished) -> None:
        asked = self._request.conversation_id
        conversation = end.conversation_id or asked
        if not conversation or (self._head is not None and conversation != asked):
            return  # it answers in another conversation than the one that was named: it forgot
        head = Head(conversation, end.message_id)
        await self._conversations.note(self._history, answer, head)
