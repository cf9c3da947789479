"""The Responses face: stored responses that clients may refer to, with and without `/v1`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from berlin.errors import BerlinError, InvalidRequestError
from berlin.formats.responses.format import ResponsesFormat
from berlin.formats.responses.request import ResponsesCall, Sent, build_call
from berlin.formats.tokens import TokenCount
from berlin.gateway.access.caller import Caller
from berlin.gateway.answering import with_model
from berlin.gateway.catalog import Target
from berlin.gateway.chat import LONG_BODY_BYTES, Gateway
from berlin.gateway.face import ID, Route
from berlin.gateway.observe.visit import VISIT
from berlin.gateway.refusals import HttpFault
from berlin.gateway.stored.record import Record
from berlin.wire.json import encode_line

MAX_LISTED = 100
MAX_CLAIMED = 10_000


class ResponsesFace:
    """The API for clients of OpenAI's Responses.

    Args:
        gateway: the shared gateway.
    """

    name = "responses"
    prefixes: tuple[str, ...] = ("/v1/responses", "/responses")

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._format = ResponsesFormat()
        self._claimed: dict[tuple[str, str], None] = {}

    def routes(self) -> list[Route]:
        """Return the paths of this face."""
        return [
            route
            for prefix in self.prefixes
            for route in (
                Route("POST", prefix, self._create),
                Route("GET", prefix, self._refuse_upgrade),
                Route("POST", f"{prefix}/input_tokens", self._count_tokens),
                Route("GET", prefix + "/{id}", self._show),
                Route("DELETE", prefix + "/{id}", self._delete),
                Route("GET", prefix + "/{id}/input_items", self._list_input),
                Route("POST", prefix + "/{id}/cancel", self._cancel),
            )
        ]

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the body of an error."""
        return self._format.encode_error(error)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        gateway = self._gateway
        key, tenant = await self._identify(request)
        sent, call = await self._receive(request, tenant)
        target = self._resolve(request, key, call)
        call = with_model(call, target)
        format = self._format
        if call.store:
            if gateway.stored.is_on:
                keep = partial(self._keep, tenant, sent.previous, call)
                format = ResponsesFormat(keep=keep, claim=partial(self._claim, tenant))
            else:
                call = msgspec.structs.replace(call, echo={**call.echo, "store": False})
        return await gateway.answer(request, format, call, target, key)

    async def _count_tokens(self, request: web.Request) -> web.StreamResponse:
        """Answer with an estimate: services that could count are not asked."""
        key, tenant = await self._identify(request)
        _, call = await self._receive(request, tenant)
        self._resolve(request, key, call)
        count = TokenCount(call.request).input_tokens
        return web.json_response({"object": "response.input_tokens", "input_tokens": count})

    async def _show(self, request: web.Request) -> web.StreamResponse:
        _, tenant = await self._identify(request)
        if request.query.get("stream") == "true":
            raise InvalidRequestError.about("stream", "a stored response is not streamed again")
        record = await self._gateway.stored.get(tenant, request[ID])
        return web.Response(body=record.response, content_type="application/json")

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        _, tenant = await self._identify(request)
        id = request[ID]
        await self._gateway.stored.delete(tenant, id)
        return web.json_response({"id": id, "object": "response", "deleted": True})

    async def _list_input(self, request: web.Request) -> web.StreamResponse:
        _, tenant = await self._identify(request)
        record = await self._gateway.stored.get(tenant, request[ID])
        body = await asyncio.to_thread(_list, record.input, request.query)
        return web.Response(body=body, content_type="application/json")

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        _, tenant = await self._identify(request)
        await self._gateway.stored.get(tenant, request[ID])
        raise InvalidRequestError("only a response that is made in the background is cancelled")

    async def _refuse_upgrade(self, request: web.Request) -> web.StreamResponse:
        await self._identify(request)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            # Clients that try a WebSocket first fall back to HTTP on this.
            raise HttpFault(426, "no WebSocket here: send POST over HTTP")
        raise web.HTTPMethodNotAllowed("GET", ["POST"])

    async def _identify(self, request: web.Request) -> tuple[Caller | None, str]:
        """Return the client's key, and the tenant whose responses it may see."""
        key = await self._gateway.identify(request)
        return key, request[VISIT].key

    async def _receive(self, request: web.Request, tenant: str) -> tuple[Sent, ResponsesCall]:
        """Return a client's request, and the call it makes together with the stored items.

        Raises:
            BerlinError: if it is malformed, or refers to something missing.
        """
        gateway = self._gateway
        sent = await gateway.receive(request, self._format.read_request)
        history: list[dict[str, Any]] = []
        if sent.previous:
            history = await gateway.stored.history(tenant, sent.previous)
        referenced = await gateway.stored.items(tenant, sent.references)
        build = partial(build_call, sent, history, referenced)
        is_long = history or (request.content_length or LONG_BODY_BYTES) >= LONG_BODY_BYTES
        return sent, await asyncio.to_thread(build) if is_long else build()

    def _resolve(self, request: web.Request, key: Caller | None, call: ResponsesCall) -> Target:
        gateway, asked = self._gateway, call.request.model
        request[VISIT].model = asked
        target = gateway.catalog.resolve(asked)
        gateway.guard.check_model(key, target, asked)
        return target

    def _claim(self, tenant: str, id: str) -> bool:
        """Return whether a service's id is new: one that is used twice would mix conversations."""
        if (tenant, id) in self._claimed:
            return False
        self._claimed[tenant, id] = None
        if len(self._claimed) > MAX_CLAIMED:
            del self._claimed[next(iter(self._claimed))]
        return True

    def _keep(
        self,
        tenant: str,
        previous: str,
        call: ResponsesCall,
        id: str,
        body: bytes,
        output: list[dict[str, Any]],
    ) -> None:
        """Store a whole response, just before its client sees its end."""

        def make() -> Record:
            ids = tuple(str(item["id"]) for item in (*call.items, *output) if item.get("id"))
            return Record(id, tenant, previous, encode_line(call.items), body, ids)

        self._gateway.stored.put(make)


def _list(stored: bytes, query: Mapping[str, str]) -> bytes:
    """Return a page of stored items: newest first, unless the client asks otherwise."""
    items = msgspec.json.decode(stored)
    order, after = query.get("order", "desc"), query.get("after", "")
    if order not in ("asc", "desc"):
        raise InvalidRequestError.about("order", "must be asc or desc")
    limit = query.get("limit", "20")
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= MAX_LISTED:
        raise InvalidRequestError.about("limit", f"must be from 1 to {MAX_LISTED}")
    items = [_whole(item) for item in (items if order == "asc" else items[::-1])]
    ids = [item["id"] for item in items]
    if after and after not in ids:
        raise InvalidRequestError.about("after", "is not the id of an item of this response")
    rest = items[ids.index(after) + 1 :] if after else items
    page = rest[: int(limit)]
    listed = {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(rest) > len(page),
    }
    return encode_line(listed)


def _whole(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item as listed: text is a part, and a message has a status."""
    if item["type"] != "message":
        return item
    content = item.get("content")
    if isinstance(content, str):
        kind = "output_text" if item.get("role") == "assistant" else "input_text"
        content = [{"type": kind, "text": content}]
    return {"status": "completed", **item, "content": content}
