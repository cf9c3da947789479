"""The Ollama face: chat, generate, and the list of models."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import msgspec

from berlin.errors import InvalidRequestError
from berlin.formats.client_request import decode_typed
from berlin.formats.contract import ClientCall
from berlin.formats.ollama.encoder import now_rfc3339
from berlin.formats.ollama.format import OllamaChatFormat, OllamaGenerateFormat
from berlin.formats.ollama.request import load_reason
from berlin.gateway import web
from berlin.gateway.chat import Gateway
from berlin.gateway.face import Face, Route, describe_models, json_body
from berlin.wire.json import encode_value

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


_CHAT, _GENERATE = OllamaChatFormat(), OllamaGenerateFormat()


async def _answer(gateway: Gateway, request: web.Request, *, is_chat: bool) -> web.StreamResponse:
    format = _CHAT if is_chat else _GENERATE
    key = await gateway.identify(request)
    asked = await gateway.receive(request, partial(_decode, format, is_chat))
    if isinstance(asked, ClientCall):
        target = gateway.resolve(request, key, asked.request.model)
        return await gateway.answer(request, format, asked, target, key)
    # Nothing is loaded or unloaded here; clients only expect success.
    name, reason = asked
    gateway.resolve(request, key, name)
    said = {"message": {"role": "assistant", "content": ""}} if is_chat else {"response": ""}
    ended = {"done": True, "done_reason": reason}
    return web.json_response({"model": name, "created_at": now_rfc3339(), **said, **ended})


def _decode(format: OllamaChatFormat, is_chat: bool, body: bytes) -> ClientCall | tuple[str, str]:
    """Decode a request: for an answer, or to load or unload a model."""
    return load_reason(body, chat=is_chat) or format.decode_request(body)


async def _tags(gateway: Gateway, request: web.Request) -> web.StreamResponse:
    return json_body(await describe_models(gateway, request, partial(_list, gateway, {})))


async def _running(gateway: Gateway, request: web.Request) -> web.StreamResponse:
    """Report every model as running."""
    ready = {"expires_at": "9999-12-31T23:59:59Z", "size_vram": 0}
    return json_body(await describe_models(gateway, request, partial(_list, gateway, ready)))


def _list(gateway: Gateway, more: Mapping[str, Any], names: Iterable[str]) -> bytes:
    return encode_value({"models": [{**_describe(gateway, name), **more} for name in names]})


async def _show(gateway: Gateway, request: web.Request) -> web.StreamResponse:
    key = await gateway.identify(request, "models")
    asked = await gateway.receive(request, partial(decode_typed, decoder=_SHOW))
    name = asked.model or asked.name
    if not name:
        raise InvalidRequestError.about("model", "missing")
    can = gateway.resolve(request, key, name).service.capabilities
    return web.json_response(
        {
            "modelfile": "",
            "parameters": "",
            "template": "",
            "modified_at": gateway.since.isoformat(),
            "details": _DETAILS,
            "model_info": {"general.architecture": "berlin"},
            "capabilities": ["completion", *(w for c, w in _CAPABILITIES.items() if c in can)],
        }
    )


async def _version(gateway: Gateway, request: web.Request) -> web.StreamResponse:
    await gateway.identify(request, "models")
    return web.json_response({"version": OLLAMA_VERSION})


def _describe(gateway: Gateway, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "modified_at": gateway.since.isoformat(),
        "size": 0,
        "digest": hashlib.sha256(name.encode()).hexdigest(),
        "details": _DETAILS,
    }


class _Show(msgspec.Struct):
    model: str | None = None
    name: str | None = None


_SHOW = msgspec.json.Decoder(_Show)

FACE = Face(
    "ollama",
    ("/api",),
    _CHAT.encode_error,
    (
        Route("POST", "/api/chat", partial(_answer, is_chat=True)),
        Route("POST", "/api/generate", partial(_answer, is_chat=False)),
        Route("GET", "/api/tags", _tags),
        Route("POST", "/api/show", _show),
        Route("GET", "/api/ps", _running),
        Route("GET", "/api/version", _version),
    ),
)
