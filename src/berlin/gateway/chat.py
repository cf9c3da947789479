"""Answers a chat, whatever the face: who asks, whom, how much at once, and in which form."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

import msgspec
from aiohttp import web

from berlin.auth.tokens.shared import SharedTokens
from berlin.errors import UnavailableError
from berlin.formats.contract import ClientCall, Format
from berlin.gateway.access.caller import Caller
from berlin.gateway.access.guard import Guard
from berlin.gateway.answering import Head
from berlin.gateway.body import Bodies
from berlin.gateway.catalog import Catalog, Service, Target
from berlin.gateway.observe.metrics import Metrics, NoMetrics
from berlin.gateway.observe.visit import VISIT, Observer
from berlin.gateway.session import session_of
from berlin.gateway.stored.responses import StoredResponses
from berlin.gateway.streaming import OpenStreams
from berlin.providers.contract import Provider
from berlin.wire.json import check_text

# Longer bodies are read in a thread, so that the loop goes on.
LONG_BODY_BYTES = 64 * 1024

_T = TypeVar("_T")


class Gateway:
    """What the faces share.

    Args:
        catalog: the providers and models; another one takes its place at a reload.
        guard: who may ask.
        streams: the answers that are being made.
        metrics: counts requests, streams and logins.
        observers: see each request when it has ended: the log, traces, a ledger.
        bodies: reads what clients send.
        stores: the token stores without which no request can be answered.
        stored: keeps the answers that clients may come back to.

    Attributes:
        stopping: whether no new work is taken.
    """

    def __init__(
        self,
        catalog: Catalog,
        guard: Guard | None = None,
        streams: OpenStreams | None = None,
        metrics: Metrics | None = None,
        observers: Iterable[Observer] = (),
        bodies: Bodies | None = None,
        stores: Collection[SharedTokens] = (),
        stored: StoredResponses | None = None,
    ) -> None:
        self.catalog = catalog
        self.guard = guard or Guard()
        self.streams = streams if streams is not None else OpenStreams()
        self.metrics = metrics or NoMetrics()
        self.observers = (self.metrics, *observers)
        self.bodies = bodies or Bodies()
        self.stores = stores
        self.stored = stored or StoredResponses.in_memory()
        self.stopping = False

    @classmethod
    def of(cls, provider: Provider, name: str = "default") -> Gateway:
        """Return a gateway over one provider, without keys, limits and logs."""
        return cls(Catalog([Service(name, provider, any_model=True)]))

    def check_running(self) -> None:
        """Raise UnavailableError if no new work is taken."""
        if self.stopping:
            raise UnavailableError("the service is stopping; try again", retry_after=1)

    async def receive(self, request: web.Request, decode: Callable[[bytes], _T]) -> _T:
        """Return what a client asks for, in the words of its face.

        Args:
            request: the client's request.
            decode: reads a body of that face.

        Raises:
            InvalidRequestError: if it cannot be read.
            OverloadedError: if too much of the client is being read already.
            HTTPException: if the body is too large, too slow, or no JSON by its own word.
        """
        visit = request[VISIT]
        body = await self.bodies.read(request, visit.key or visit.remote)
        if not body.isascii():
            check_text(body)
        if len(body) > LONG_BODY_BYTES:
            return await asyncio.to_thread(decode, body)
        return decode(body)

    async def answer_as_key(
        self,
        request: web.Request,
        format: Format,
        decode: Callable[[bytes], ClientCall] | None = None,
    ) -> web.StreamResponse:
        """Answer a chat of a client that shows who it is by a key.

        Args:
            request: the client's request.
            format: the dialect in which it came and in which the answer goes.
            decode: reads the body, unless the format does it alone.

        Raises:
            BerlinError: if there is no answer at all.
        """
        key = self.identify(request)
        call = await self.receive(request, decode or format.decode_request)
        target = self.catalog.resolve(call.request.model)
        return await self.answer_call(request, format, call, target, key)

    def identify(self, request: web.Request) -> Caller | None:
        """Return the client's key, and record it. Raises as `Guard.identify` does."""
        key = self.guard.identify(request)
        request[VISIT].key = key.id if key is not None else ""
        return key

    async def answer_call(
        self,
        request: web.Request,
        format: Format,
        call: ClientCall,
        target: Target,
        key: Caller | None,
    ) -> web.StreamResponse:
        """Answer what a client asks for, if its key may ask this model.

        Raises:
            BerlinError: if there is no answer at all.
        """
        visit = request[VISIT]
        visit.model = call.request.model
        self.guard.check_model(key, target, call.request.model)
        if not call.request.model:
            # An answer always names the model that was asked.
            named = msgspec.structs.replace(call.request, model=target.full_name)
            call = msgspec.structs.replace(call, request=named)
        return await self.answer(request, format, call, target, visit.key or visit.remote)

    async def answer(
        self,
        request: web.Request,
        format: Format,
        call: ClientCall,
        target: Target,
        tenant: str,
    ) -> web.StreamResponse:
        """Answer a chat.

        Args:
            request: the client's request.
            format: the dialect in which it came and in which the answer goes.
            call: what it asks for.
            target: whom it asks.
            tenant: who it is, for a fair line.

        Raises:
            BerlinError: if there is no answer at all.
        """
        visit, service = request[VISIT], target.service
        visit.provider, visit.stream = service.name, call.stream
        chat = msgspec.structs.replace(
            call.request,
            model=target.model,
            request_id=visit.id,
            tenant=call.request.tenant or tenant,
            whole=not call.stream,
        )
        if service.session_headers is not None:
            session = session_of(request.headers, chat, service.session_headers)
            chat = msgspec.structs.replace(chat, session_id=session)
        head = Head(format, call, target)
        with service.open, self.streams.open:
            async with service.admission.enter(tenant, shared=self.guard.is_shared):
                bursts = service.provider.bursts(chat)
                if call.stream:
                    self.metrics.open_stream(visit.face)
                    try:
                        return await self.streams.stream(
                            request, bursts, head, visit, held=service.holds
                        )
                    finally:
                        self.metrics.close_stream(visit.face)
                answer = await self.streams.whole(bursts, visit)
        body = head.encode_response(answer)
        visit.bytes_out = len(body)
        headers = head.headers(answer.started)
        return web.Response(body=body, content_type="application/json", headers=headers)
