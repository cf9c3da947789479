"""The OpenAI face: chats, completions and the list of models, with and without `/v1`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from berlin.errors import BerlinError, ModelNotFoundError
from berlin.formats.openai.completions import OpenAICompletionsFormat
from berlin.formats.openai.format import OpenAIChatFormat
from berlin.gateway.chat import Gateway
from berlin.gateway.face import ID, Route, describe_models


class OpenAIFace:
    """The API for clients of OpenAI.

    Args:
        gateway: the shared gateway.
    """

    name = "openai"
    prefixes: tuple[str, ...] = ("/",)

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._format = OpenAIChatFormat()
        self._completions = OpenAICompletionsFormat()
        self._since = int(time.time())

    def routes(self) -> list[Route]:
        """Return the paths of this face."""
        return [
            route
            for prefix in ("/v1", "")
            for route in (
                Route("POST", f"{prefix}/chat/completions", self._chat),
                Route("POST", f"{prefix}/completions", self._complete),
                Route("GET", f"{prefix}/models", self._models),
                # Names contain slashes and colons.
                Route("GET", prefix + "/models/{id:path}", self._model),
            )
        ]

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the body of an error."""
        return self._format.encode_error(error)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._gateway.answer_chat(request, self._format)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        return await self._gateway.answer_chat(request, self._completions)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        key = await self._gateway.identify(request, "models")
        models = await describe_models(self._gateway, key, self._describe)
        listed: dict[str, Any] = {"object": "list", "data": models, "has_more": False}
        if models:
            listed |= {"first_id": models[0]["id"], "last_id": models[-1]["id"]}
        return web.json_response(listed)

    async def _model(self, request: web.Request) -> web.StreamResponse:
        key = await self._gateway.identify(request, "models")
        asked = request[ID]
        if asked not in await describe_models(self._gateway, key, str):
            raise ModelNotFoundError(f"the model {asked[:100]!r} does not exist here")
        return web.json_response(self._describe(asked))

    def _describe(self, name: str) -> dict[str, Any]:
        # Clients of Anthropic's API use the same path and expect the last three.
        return {
            "id": name,
            "object": "model",
            "created": self._since,
            "owned_by": self._gateway.catalog.resolve(name).service.name,
            "type": "model",
            "display_name": name,
            "created_at": datetime.fromtimestamp(self._since, UTC).isoformat(),
        }
