"""The Anthropic face: messages and token counting."""

from __future__ import annotations

from functools import partial

import msgspec
from aiohttp import web

from berlin.errors import BerlinError
from berlin.formats.anthropic.format import AnthropicMessagesFormat
from berlin.formats.anthropic.table import BETA, DIALECT
from berlin.formats.contract import ClientCall
from berlin.formats.tokens import TokenCount
from berlin.gateway.chat import Gateway
from berlin.gateway.face import Route
from berlin.gateway.observe.visit import VISIT
from berlin.types import Extra, extra_of


class AnthropicFace:
    """The API for clients of Anthropic.

    Args:
        gateway: the shared gateway.
    """

    name = "anthropic"
    prefixes: tuple[str, ...] = ("/v1/messages",)

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._format = AnthropicMessagesFormat()

    def routes(self) -> list[Route]:
        """Return the paths of this face."""
        return [
            Route("POST", "/v1/messages", self._chat),
            Route("POST", "/v1/messages/count_tokens", self._count_tokens),
        ]

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the body of an error."""
        return self._format.encode_error(error)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        beta = ", ".join(request.headers.getall(BETA, []))
        decode = partial(self._decode_beta, beta) if beta else None
        return await self._gateway.answer_chat(request, self._format, decode)

    def _decode_beta(self, beta: str, body: bytes) -> ClientCall:
        """Decode a request together with the beta features it enables."""
        call = self._format.decode_request(body)
        members = {**extra_of(call.request.extra, DIALECT), BETA: beta}
        asked = msgspec.structs.replace(call.request, extra=Extra(DIALECT, members))
        return msgspec.structs.replace(call, request=asked)

    async def _count_tokens(self, request: web.Request) -> web.StreamResponse:
        """Answer with an estimate: services that could count are not asked."""
        gateway = self._gateway
        key = await gateway.identify(request)
        call = await gateway.receive(request, self._format.decode_request)
        request[VISIT].model = call.request.model
        target = gateway.catalog.resolve(call.request.model)
        gateway.guard.check_model(key, target, call.request.model)
        return web.json_response({"input_tokens": TokenCount(call.request).input_tokens})
