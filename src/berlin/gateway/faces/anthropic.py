"""The Anthropic face: messages and token counting."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

import msgspec

from berlin.formats.anthropic.format import AnthropicMessagesFormat
from berlin.formats.anthropic.table import BETA, DIALECT
from berlin.formats.contract import ClientCall
from berlin.formats.tokens import TokenCount
from berlin.gateway import web
from berlin.gateway.chat import Gateway
from berlin.gateway.face import Face, Route
from berlin.types import Extra, extra_of

_FORMAT = AnthropicMessagesFormat()


def _chat(gateway: Gateway, request: web.Request) -> Awaitable[web.StreamResponse]:
    beta = ", ".join(request.headers.getall(BETA, []))
    return gateway.answer_chat(request, _FORMAT, partial(_decode_beta, beta) if beta else None)


def _decode_beta(beta: str, body: bytes) -> ClientCall:
    """Decode a request together with the beta features it enables."""
    call = _FORMAT.decode_request(body)
    members = {**extra_of(call.request.extra, DIALECT), BETA: beta}
    asked = msgspec.structs.replace(call.request, extra=Extra(DIALECT, members))
    return msgspec.structs.replace(call, request=asked)


async def _count_tokens(gateway: Gateway, request: web.Request) -> web.StreamResponse:
    """Answer with an estimate: services that could count are not asked."""
    key = await gateway.identify(request)
    call = await gateway.receive(request, _FORMAT.decode_request)
    gateway.resolve(request, key, call.request.model)
    return web.json_response({"input_tokens": TokenCount(call.request).input_tokens})


FACE = Face(
    "anthropic",
    ("/v1/messages",),
    _FORMAT.encode_error,
    (
        Route("POST", "/v1/messages", _chat),
        Route("POST", "/v1/messages/count_tokens", _count_tokens),
    ),
)
