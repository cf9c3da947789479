"""The limit of a gateway built on aiohttp: it translates Berlin's wire into OpenAI's chunks,
and does nothing else. No key is required, nothing is checked, counted or limited.

    python bench/gateways/bare.py URL        prints its port
"""

from __future__ import annotations

import sys
import uuid

import aiohttp
import msgspec
import uvloop
from aiohttp import web


class Line(msgspec.Struct, gc=False):
    """One piece of the service."""

    content: str


LINES = msgspec.json.Decoder(Line)
END = b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


async def main(url: str) -> None:
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def chat(request: web.Request) -> web.StreamResponse:
        asked = msgspec.json.decode(await request.read())
        head = msgspec.json.encode(
            {
                "id": f"chatcmpl-{uuid.uuid4().hex}",
                "object": "chat.completion.chunk",
                "created": 1764000000,
                "model": asked["model"],
            }
        )[:-1]
        before = b'data: %b,"choices":[{"index":0,"delta":{"content":' % head
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        body = {"prompt": asked["messages"][-1]["content"], "options": {"model": asked["model"]}}
        where = f"{url}/{asked['model']}/api/chat/completions"
        rest = b""
        async with session.post(where, json=body, headers={"token": "bench"}) as answer:
            await response.prepare(request)
            async for data in answer.content.iter_any():
                whole, end, tail = data.rpartition(b"\n")
                parts = []
                for line in LINES.decode_lines(rest + whole):
                    text = msgspec.json.encode(line.content)
                    parts.append(b'%b%b},"finish_reason":null}]}\n\n' % (before, text))
                rest = tail if end else rest + tail
                await response.write(b"".join(parts))
            await response.write(b"data: %b,%b" % (head, END))
        await response.write_eof()
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=2048)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await web.asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
