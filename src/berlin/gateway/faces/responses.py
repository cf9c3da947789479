"""The Responses face: stored responses that clients may refer to, with and without `/v1`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import msgspec

from berlin.errors import InvalidRequestError
from berlin.formats.responses.format import ResponsesFormat
from berlin.formats.responses.request import ResponsesCall, Sent, build_call
from berlin.formats.tokens import TokenCount
from berlin.gateway import web
from berlin.gateway.access.caller import Caller
from berlin.gateway.chat import LONG_BODY_BYTES, Gateway
from berlin.gateway.face import Face, Route
from berlin.gateway.refusals import HttpFault
from berlin.gateway.stored.record import Record
from berlin.gateway.stored.responses import StoredResponses
from berlin.wire.json import encode_line

MAX_LISTED = 100
MAX_CLAIMED = 10_000

_FORMAT = ResponsesFormat()


class ResponsesFace:
    """The handlers for clients of OpenAI's Responses."""

    def __init__(self) -> None:
        self._claimed: dict[tuple[str, str], None] = {}

    def face(self) -> Face:
        """Return the face."""
        prefixes = ("/v1/responses", "/responses")
        routes = (
            Route(method, prefix + path, handler)
            for prefix in prefixes
            for method, path, handler in (
                ("POST", "", self._create),
                ("GET", "", _refuse_upgrade),
                ("POST", "/input_tokens", _count_tokens),
                ("GET", "/{id}", _show),
                ("DELETE", "/{id}", _delete),
                ("GET", "/{id}/input_items", _list_input),
                ("POST", "/{id}/cancel", _cancel),
            )
        )
        return Face("responses", prefixes, _FORMAT.encode_error, tuple(routes))

    async def _create(self, gateway: Gateway, request: web.Request) -> web.StreamResponse:
        key, tenant = await _identify(gateway, request)
        sent, call = await _receive(gateway, request, tenant)
        target = gateway.resolve(request, key, call.request.model)
        if call.store:
            if gateway.stored.is_on:
                writing = _Writing(gateway.stored, tenant, sent.previous, call.items)
                format = _FORMAT.storing(writing.begin, partial(self._claim, tenant))
                return await gateway.answer(
                    request, format, call, target, key, before_end=writing.end
                )
            call = msgspec.structs.replace(call, echo={**call.echo, "store": False})
        return await gateway.answer(request, _FORMAT, call, target, key)

    def _claim(self, tenant: str, id: str) -> bool:
        """Return whether a service's id is new: one that is used twice would mix conversations."""
        if (tenant, id) in self._claimed:
            return False
        self._claimed[tenant, id] = None
        if len(self._claimed) > MAX_CLAIMED:
            del self._claimed[next(iter(self._claimed))]
        return True


class _Writing:
    """Stores one answer before its client hears of the end: another worker may be asked next."""

    def __init__(
        self,
        stored: StoredResponses,
        tenant: str,
        previous: str,
        items: Sequence[Mapping[str, Any]],
    ) -> None:
        self._stored = stored
        self._tenant = tenant
        self._previous = previous
        self._items = items
        self._written: Future[None] | None = None

    def begin(self, id: str, body: bytes, output: list[dict[str, Any]]) -> None:
        """Begin to store the whole response; called in any thread."""

        def make() -> Record:
            ids = tuple(str(item["id"]) for item in (*self._items, *output) if item.get("id"))
            return Record(id, self._tenant, self._previous, encode_line(self._items), body, ids)

        self._written = self._stored.put(make)

    async def end(self) -> None:
        """Wait until it is stored."""
        await self._stored.written(self._written)


async def _count_tokens(gateway: Gateway, request: web.Request) -> web.StreamResponse:
    """Answer with an estimate: services that could count are not asked."""
    key, tenant = await _identify(gateway, request)
    _, call = await _receive(gateway, request, tenant)
    gateway.resolve(request, key, call.request.model)
    count = TokenCount(call.request).input_tokens
    return web.json_response({"object": "response.input_tokens", "input_tokens": count})


async def _show(gateway: Gateway, request: web.Request) -> web.StreamResponse:
    _, tenant = await _identify(gateway, request)
    if request.query.get("stream") == "true":
        raise InvalidRequestError.about("stream", "a stored response is not streamed again")
    record = await gateway.stored.get(tenant, request.id)
    return web.Response(body=record.response, content_type="application/json")


async def _delete(gateway: Gateway, request: web.Request) -> web.StreamResponse:
    _, tenant = await _identify(gateway, request)
    id = request.id
    await gateway.stored.delete(tenant, id)
    return web.json_response({"id": id, "object": "response", "deleted": True})


async def _list_input(gateway: Gateway, request: web.Request) -> web.StreamResponse:
    _, tenant = await _identify(gateway, request)
    record = await gateway.stored.get(tenant, request.id)
    body = await asyncio.to_thread(_list, record.input, request.query)
    return web.Response(body=body, content_type="application/json")


async def _cancel(gateway: Gateway, request: web.Request) -> web.StreamResponse:
    _, tenant = await _identify(gateway, request)
    await gateway.stored.get(tenant, request.id)
    raise InvalidRequestError("only a response that is made in the background is cancelled")


async def _refuse_upgrade(gateway: Gateway, request: web.Request) -> web.StreamResponse:
    await _identify(gateway, request)
    if request.headers.get("Upgrade", "").lower() == "websocket":
        # Clients that try a WebSocket first fall back to HTTP on this.
        raise HttpFault(426, "no WebSocket here: send POST over HTTP")
    raise HttpFault(405, allow="POST")


async def _identify(gateway: Gateway, request: web.Request) -> tuple[Caller | None, str]:
    """Return the client's key, and the tenant whose responses it may see."""
    key = await gateway.identify(request)
    return key, request.visit.key


async def _receive(
    gateway: Gateway, request: web.Request, tenant: str
) -> tuple[Sent, ResponsesCall]:
    """Return a client's request, and the call it makes together with the stored items.

    Raises:
        BerlinError: if it is malformed, or refers to something missing.
    """
    sent = await gateway.receive(request, _FORMAT.read_request)
    history: list[dict[str, Any]] = []
    if sent.previous:
        history = await gateway.stored.history(tenant, sent.previous)
    referenced = await gateway.stored.items(tenant, sent.references)
    build = partial(build_call, sent, history, referenced)
    is_long = history or (request.content_length or LONG_BODY_BYTES) >= LONG_BODY_BYTES
    return sent, await asyncio.to_thread(build) if is_long else build()


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
