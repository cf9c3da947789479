"""The Ollama face: chat, generate, and what says which models there are."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

import berlin
from berlin.errors import BerlinError, InvalidRequestError
from berlin.formats.client_request import decode_typed
from berlin.formats.ollama.format import OllamaChatFormat, OllamaGenerateFormat
from berlin.gateway.chat import Gateway
from berlin.gateway.face import Route, describe_models

# Ours, and the words of Ollama.
_CAPABILITIES = {"tools": "tools", "images": "vision", "reasoning": "thinking"}

_DETAILS = {
    "parent_model": "",
    "format": "",
    "family": "berlin",
    "families": ["berlin"],
    "parameter_size": "",
    "quantization_level": "",
}


class OllamaFace:
    """What clients of Ollama ask.

    Args:
        gateway: what the faces share.
    """

    name = "ollama"
    prefixes: tuple[str, ...] = ("/api",)

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._chat_format = OllamaChatFormat()
        self._generate_format = OllamaGenerateFormat()
        self._since = datetime.now(UTC).isoformat()

    def routes(self) -> list[Route]:
        """Return the paths of this face."""
        return [
            Route("POST", "/api/chat", self._chat),
            Route("POST", "/api/generate", self._generate),
            Route("GET", "/api/tags", self._tags),
            Route("POST", "/api/show", self._show),
            Route("GET", "/api/version", self._version),
        ]

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the body that tells of an error."""
        return self._chat_format.encode_error(error)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._gateway.answer_as_key(request, self._chat_format)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        return await self._gateway.answer_as_key(request, self._generate_format)

    async def _tags(self, request: web.Request) -> web.StreamResponse:
        key = self._gateway.guard.identify(request)
        models = await describe_models(self._gateway, key, self._describe)
        return web.json_response({"models": models})

    async def _show(self, request: web.Request) -> web.StreamResponse:
        key = self._gateway.guard.identify(request)
        client = key.id if key is not None else self._gateway.guard.address(request)
        asked = decode_typed(await self._gateway.bodies.read(request, client), _SHOW)
        name = asked.model or asked.name
        if not name:
            raise InvalidRequestError.about("model", "missing")
        target = self._gateway.catalog.resolve(name)
        self._gateway.guard.check_model(key, target, name)
        can = target.service.capabilities
        return web.json_response(
            {
                "modelfile": "",
                "parameters": "",
                "template": "",
                "modified_at": self._since,
                "details": _DETAILS,
                "model_info": {"general.architecture": "berlin"},
                "capabilities": ["completion", *(w for c, w in _CAPABILITIES.items() if c in can)],
            }
        )

    async def _version(self, request: web.Request) -> web.StreamResponse:
        self._gateway.guard.identify(request)
        return web.json_response({"version": berlin.__version__})

    def _describe(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "model": name,
            "modified_at": self._since,
            "size": 0,
            "digest": hashlib.sha256(name.encode()).hexdigest(),
            "details": _DETAILS,
        }


class _Show(msgspec.Struct):
    model: str | None = None
    name: str | None = None


_SHOW = msgspec.json.Decoder(_Show)
