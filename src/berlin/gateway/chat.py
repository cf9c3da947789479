"""Answers a chat for any face: authentication, model lookup, limits and encoding."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from berlin.errors import InvalidRequestError
from berlin.formats.contract import ClientCall, Format
from berlin.gateway import web
from berlin.gateway.access.caller import Caller, Scope
from berlin.gateway.access.guard import Guard
from berlin.gateway.access.limits.limiter import Limiter
from berlin.gateway.access.limits.spending import Demand
from berlin.gateway.answering import BeforeEnd, Head, with_model
from berlin.gateway.body import Bodies
from berlin.gateway.catalog import Catalog, Service, Target
from berlin.gateway.observe.visit import Observer
from berlin.gateway.session import session_of
from berlin.gateway.stored.responses import StoredResponses
from berlin.gateway.streaming import OpenStreams
from berlin.gateway.workers.worker import Worker
from berlin.providers.contract import Provider
from berlin.types import ChatRequest
from berlin.wire.json import check_text, mend_text

if TYPE_CHECKING:
    from berlin.gateway.observe.ledger import Ledger
    from berlin.gateway.observe.metrics import PrometheusMetrics

# Longer bodies are parsed in a thread, so that the loop is not blocked.
LONG_BODY_BYTES = 64 * 1024
ASK_STORES_EVERY_S = 1.0

_NOTHING = nullcontext()

_T = TypeVar("_T")


class Needed(Protocol):
    """Something without which requests are refused."""

    async def works(self) -> bool:
        """Return whether it can be used, in bounded time."""
        ...


class Stores:
    """What requests require.

    Args:
        needed: each store, by its name.
    """

    def __init__(self, needed: Mapping[str, Needed] = {}) -> None:
        self._needed = dict(needed)
        self._ask_at = 0.0
        self._problem = ""

    async def problem(self) -> str:
        """Return which store is unavailable, or `""`; they are asked once a second."""
        now = time.monotonic()
        if now >= self._ask_at:
            self._ask_at = now + ASK_STORES_EVERY_S
            worked = await asyncio.gather(*(store.works() for store in self._needed.values()))
            broken = [name for name, works in zip(self._needed, worked, strict=True) if not works]
            self._problem = f"{broken[0]} unavailable" if broken else ""
        return self._problem


@dataclass(eq=False)
class Gateway:
    """The state that the faces share.

    Args:
        catalog: the providers and models; replaced at a reload.
        guard: checks keys.
        streams: the open answers.
        metrics: counts requests, streams and logins; `None` if nobody wants to know.
        observers: called with each finished request: the log, traces, a ledger.
        bodies: reads request bodies.
        stores: what requests require.
        stored: stores the responses that clients may refer to.
        limiter: keeps requests within the limits of their keys, users and models.
        worker: which of several workers this process is; `None` if it is the only one.
        ledger: records each request that a provider is asked; `None` without one.
        since: when it started.
        stopping: whether new requests are refused.
        draining: whether this worker has been replaced, so that connections close after a response.
    """

    catalog: Catalog
    guard: Guard = field(default_factory=Guard)
    streams: OpenStreams = field(default_factory=OpenStreams)
    metrics: PrometheusMetrics | None = None
    observers: Sequence[Observer] = ()
    bodies: Bodies = field(default_factory=Bodies)
    stores: Stores = field(default_factory=Stores)
    stored: StoredResponses = field(default_factory=StoredResponses.in_memory)
    limiter: Limiter = field(default_factory=Limiter)
    worker: Worker | None = None
    ledger: Ledger | None = None
    since: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    stopping: bool = False
    draining: bool = False

    def __post_init__(self) -> None:
        every = (self.metrics, *self.observers, self.ledger)
        self.observers = tuple(observer for observer in every if observer is not None)

    @classmethod
    def of(cls, provider: Provider, name: str = "default") -> Gateway:
        """Return a gateway over one provider, without keys, limits and logs."""
        return cls(Catalog([Service(name, provider, any_model=True)]))

    def headers(self, request: web.Request) -> dict[str, str]:
        """Return the headers that every response has."""
        visit = request.visit
        headers = {
            "Server": "berlin",  # not the versions of the underlying libraries
            "x-request-id": visit.id,
            **self.guard.origin_headers(request),
        }
        if visit.more_headers is not None:
            headers.update(visit.more_headers)
        if self.draining:
            headers["Connection"] = "close"
        return headers

    async def receive(self, request: web.Request, decode: Callable[[bytes], _T]) -> _T:
        """Read a client's request with the decoder of its face.

        Args:
            request: the client's request.
            decode: decodes a body of that face.

        Raises:
            InvalidRequestError: if it is malformed.
            OverloadedError: if too much of this client's data is being read already.
            HttpFault: if the body is too large, too slow, or not declared as JSON.
        """
        visit = request.visit
        body = await self.bodies.read(request, visit.key or visit.remote)
        if not body.isascii():
            check_text(body)
        if len(body) > LONG_BODY_BYTES:
            return await asyncio.to_thread(_decode, decode, body)
        return _decode(decode, body)

    async def answer_chat(
        self,
        request: web.Request,
        format: Format,
        decode: Callable[[bytes], ClientCall] | None = None,
    ) -> web.StreamResponse:
        """Answer a chat of a client that authenticates with a key.

        Args:
            request: the client's request.
            format: the dialect of the request and the answer.
            decode: decodes the body; by default the format does.

        Raises:
            BerlinError: if it fails before the first event.
        """
        key = await self.identify(request)
        call = await self.receive(request, decode or format.decode_request)
        target = self.resolve(request, key, call.request.model)
        return await self.answer(request, format, call, target, key)

    def resolve(self, request: web.Request, key: Caller | None, model: str) -> Target:
        """Return what a client's model name means, and record it.

        Raises:
            BerlinError: if there is no such model, or the key may not use it.
        """
        request.visit.model = model
        target = self.catalog.resolve(model)
        self.guard.check_model(key, target, model)
        return target

    async def identify(self, request: web.Request, scope: Scope = "chat") -> Caller | None:
        """Return the client's key, and record it. Raises as `Guard.identify` does."""
        key = await self.guard.identify(request, scope)
        if key is not None:
            visit = request.visit
            visit.key, visit.user = key.id, key.user
        return key

    async def answer(
        self,
        request: web.Request,
        format: Format,
        call: ClientCall,
        target: Target,
        caller: Caller | None,
        *,
        before_end: BeforeEnd | None = None,
    ) -> web.StreamResponse:
        """Answer a chat.

        Args:
            request: the client's request.
            format: the dialect of the request and the answer.
            call: the decoded request.
            target: the provider and model.
            caller: the client; `None` where no key is needed.
            before_end: awaited when the answer is encoded, before its client hears of the end.

        Raises:
            BerlinError: if it fails before the first event.
        """
        visit, service = request.visit, target.service
        visit.provider, visit.stream = service.name, call.stream
        tenant = visit.key or visit.remote
        chat = self._chat_of(request, call.request, target, whole=not call.stream)
        spending = None
        if self.limiter.concerns(caller):
            estimate = partial(Demand.of, chat)
            spending = await self.limiter.admit(visit, caller, target, estimate)
            if spending is not None:
                before_end = partial(spending.end, before_end)
        head = Head(format, with_model(call, target), target, visit, before_end)
        slot = service.admission.enter(tenant, shared=self.guard.is_shared)
        with service.open, self.streams.open:
            async with spending or _NOTHING, slot:
                if self.ledger is not None:
                    self.ledger.begin(visit, target.model or service.default, chat)
                bursts = service.provider.bursts(chat)
                if spending is not None:
                    spending.sent()
                if call.stream:
                    return await self.streams.stream(
                        request,
                        bursts,
                        head,
                        lambda: {**head.headers(), **self.headers(request)},
                        visit,
                        slot,
                        held=service.holds,
                        before_error=None if spending is None else spending.end,
                    )
                body = await self.streams.whole(bursts, visit, head.encode_response)
            if before_end is not None:
                await before_end()
        visit.bytes_out = len(body)
        return web.Response(body=body, content_type="application/json", headers=head.headers())

    def _chat_of(
        self, request: web.Request, asked: ChatRequest, target: Target, *, whole: bool
    ) -> ChatRequest:
        """Return a client's request as it is passed to the provider."""
        visit, service = request.visit, target.service
        tenant = asked.tenant or visit.key or visit.remote
        identity, session_id = asked.identity, asked.session_id
        if service.serves_callers:
            identity = self.guard.identity(request)
            if identity is not None:  # a tenant that no other caller shares
                tenant = f"{tenant} {identity.id}"
        if service.session_headers is not None:
            session_id = session_of(request.headers, asked, service.session_headers)
        return msgspec.structs.replace(
            asked,
            model=target.model,
            request_id=visit.id,
            tenant=tenant,
            user=visit.user,
            whole=whole,
            identity=identity,
            session_id=session_id,
        )


def _decode(decode: Callable[[bytes], _T], body: bytes) -> _T:
    """Decode a client's body, mended if it is not JSON as it is. Raises InvalidRequestError."""
    try:
        return decode(body)
    except InvalidRequestError:
        mended = mend_text(body)
        if mended == body:
            raise
        return decode(mended)
