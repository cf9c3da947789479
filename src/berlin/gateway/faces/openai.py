"""The OpenAI face: chats, completions and the list of models, with and without `/v1`."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from functools import partial
from typing import Any

from berlin.errors import ModelNotFoundError
from berlin.formats.contract import Format
from berlin.formats.openai.completions import OpenAICompletionsFormat
from berlin.formats.openai.format import OpenAIChatFormat
from berlin.gateway import web
from berlin.gateway.chat import Gateway
from berlin.gateway.face import Face, Route, describe_models, json_body
from berlin.wire.json import encode_value


def _chat(gateway: Gateway, request: web.Request, format: Format) -> Awaitable[web.StreamResponse]:
    return gateway.answer_chat(request, format)


async def _models(gateway: Gateway, request: web.Request) -> web.StreamResponse:
    return json_body(await describe_models(gateway, request, partial(_list, gateway)))


def _list(gateway: Gateway, names: Iterable[str]) -> bytes:
    models = [_describe(gateway, name) for name in names]
    listed: dict[str, Any] = {"object": "list", "data": models, "has_more": False}
    if models:
        listed |= {"first_id": models[0]["id"], "last_id": models[-1]["id"]}
    return encode_value(listed)


async def _model(gateway: Gateway, request: web.Request) -> web.StreamResponse:
    asked = request.id
    if not await describe_models(gateway, request, lambda names: asked in names):
        raise ModelNotFoundError(f"the model {asked[:100]!r} does not exist here")
    return web.json_response(_describe(gateway, asked))


def _describe(gateway: Gateway, name: str) -> dict[str, Any]:
    # Clients of Anthropic's API use the same path and expect the last three.
    return {
        "id": name,
        "object": "model",
        "created": int(gateway.since.timestamp()),
        "owned_by": gateway.catalog.resolve(name).service.name,
        "type": "model",
        "display_name": name,
        "created_at": gateway.since.isoformat(),
    }


_FORMAT = OpenAIChatFormat()

FACE = Face(
    "openai",
    ("/",),
    _FORMAT.encode_error,
    tuple(
        Route(method, prefix + path, handler)
        for prefix in ("/v1", "")
        for method, path, handler in (
            ("POST", "/chat/completions", partial(_chat, format=_FORMAT)),
            ("POST", "/completions", partial(_chat, format=OpenAICompletionsFormat())),
            ("GET", "/models", _models),
            ("GET", "/models/{id:path}", _model),  # names contain slashes and colons
        )
    ),
)
