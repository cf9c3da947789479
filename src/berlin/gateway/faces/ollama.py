"""The Ollama face: chat, generate, and the list of models."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from berlin.errors import BerlinError, InvalidRequestError
from berlin.formats.client_request import decode_typed
from berlin.formats.contract import ClientCall
from berlin.formats.ollama.encoder import now_rfc3339
from berlin.formats.ollama.format import OllamaChatFormat, OllamaGenerateFormat
from berlin.formats.ollama.request import load_reason
from berlin.gateway.chat import Gateway
from berlin.gateway.face import Route, describe_models

OLLAMA_VERSION = "0.12.10"
"""The version of Ollama whose API this is. Clients check it: Copilot requires 0.6.4 or later."""

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
    """The API for clients of Ollama.

    Args:
        gateway: the shared gateway.
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
            Route("GET", "/api/ps", self._running),
            Route("GET", "/api/version", self._version),
        ]

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the body of an error."""
        return self._chat_format.encode_error(error)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, self._chat_format, chat=True)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, self._generate_format, chat=False)

    async def _answer(
        self, request: web.Request, format: OllamaChatFormat, *, chat: bool
    ) -> web.StreamResponse:
        key = await self._gateway.identify(request)
        asked = await self._gateway.receive(request, partial(_decode, format, chat))
        if isinstance(asked, ClientCall):
            target = self._gateway.catalog.resolve(asked.request.model)
            return await self._gateway.answer_call(request, format, asked, target, key)
        # Nothing is loaded or unloaded here; clients only expect success.
        name, reason = asked
        self._gateway.guard.check_model(key, self._gateway.catalog.resolve(name), name)
        said = {"message": {"role": "assistant", "content": ""}} if chat else {"response": ""}
        ended = {"done": True, "done_reason": reason}
        return web.json_response({"model": name, "created_at": now_rfc3339(), **said, **ended})

    async def _running(self, request: web.Request) -> web.StreamResponse:
        """Report every model as running."""
        key = await self._gateway.identify(request, "models")
        models = await describe_models(self._gateway, key, self._describe_ready)
        return web.json_response({"models": models})

    async def _tags(self, request: web.Request) -> web.StreamResponse:
        key = await self._gateway.identify(request, "models")
        models = await describe_models(self._gateway, key, self._describe)
        return web.json_response({"models": models})

    async def _show(self, request: web.Request) -> web.StreamResponse:
        key = await self._gateway.identify(request, "models")
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
        await self._gateway.identify(request, "models")
        return web.json_response({"version": OLLAMA_VERSION})

    def _describe_ready(self, name: str) -> dict[str, Any]:
        return {**self._describe(name), "expires_at": "9999-12-31T23:59:59Z", "size_vram": 0}

    def _describe(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "model": name,
            "modified_at": self._since,
            "size": 0,
            "digest": hashlib.sha256(name.encode()).hexdigest(),
            "details": _DETAILS,
        }


def _decode(format: OllamaChatFormat, chat: bool, body: bytes) -> ClientCall | tuple[str, str]:
    """Decode a request: for an answer, or to load or unload a model."""
    return load_reason(body, chat=chat) or format.decode_request(body)


class _Show(msgspec.Struct):
    model: str | None = None
    name: str | None = None


_SHOW = msgspec.json.Decoder(_Show)
