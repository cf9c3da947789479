"""Reading a client's body."""

from __future__ import annotations

import asyncio

from aiohttp import web

from berlin.gateway.body import read_body


async def test_g06_a_body_that_trickles_is_given_up() -> None:
    """A client that announces a body and does not send it is answered 408."""

    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=await read_body(request, 0.2))

    app = web.Application()
    app.router.add_post("/", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    try:
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab")
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    finally:
        writer.close()
        await writer.wait_closed()
        await runner.cleanup()
