"""A model service for a front end under test: it echoes the prompt, as OpenAI or as Ollama does.

Asked for `history`, it says what it was sent instead.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from support.playing import running

MODEL = "echo-1"


async def _models(request: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})


def _words(messages: list[Any]) -> list[str]:
    content = str(messages[-1]["content"])
    if content == "history":
        return [f"{m['role']}: {m.get('content')}\n" for m in messages]
    return ["You said:", *(f" {word}" for word in content.split())]


async def _chat(request: web.Request) -> web.StreamResponse:
    asked = await request.json()
    words = _words(asked["messages"])
    if not asked.get("stream"):
        message = {"role": "assistant", "content": "".join(words)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"id": "c1", "object": "chat.completion", "choices": [choice]})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for delta, reason in (*(({"content": w}, None) for w in words), ({}, "stop")):
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = {"id": "c1", "object": "chat.completion.chunk", "model": MODEL, "choices": [choice]}
        await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response


async def _ollama(request: web.Request) -> web.StreamResponse:
    asked = await request.json()
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    for text in (*_words(asked["messages"]), ""):
        said = {"role": "assistant", "content": text}
        line = {"model": MODEL, "created_at": "2026-11-29T00:00:00Z", "message": said}
        line |= {"done": not text, **({} if text else {"done_reason": "stop"})}
        await response.write(f"{json.dumps(line)}\n".encode())
    return response


@asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    """Serve it for the block, and give its URL, with `/v1`."""
    app = web.Application()
    app.router.add_get("/v1/models", _models)
    app.router.add_post("/v1/chat/completions", _chat)
    app.router.add_post("/api/chat", _ollama)
    async with running(app) as url:
        yield f"{url}/v1"
