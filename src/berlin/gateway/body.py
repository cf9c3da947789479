"""Reads the body of a client's request, with limits on its size and on the time it takes."""

from __future__ import annotations

import asyncio

from aiohttp import web

MAX_BODY_BYTES = 20 * 1024 * 1024
BODY_TIMEOUT_S = 30.0

_NO_JSON = ("text/", "multipart/", "application/x-www-form-urlencoded", "application/xml")


async def read_body(request: web.Request, timeout: float = BODY_TIMEOUT_S) -> bytes:
    """Return the body. Where a client has to say who it is, that is asked before.

    A form or a text is not read: a web page can let a browser send those anywhere without
    being asked who it is.

    Raises:
        HTTPUnsupportedMediaType: if it is a form or a text by its own word.
        HTTPRequestEntityTooLarge: if it is longer than the application allows.
        HTTPRequestTimeout: if it does not come in time; aiohttp itself waits for ever.
    """
    if request.content_type.startswith(_NO_JSON):
        raise web.HTTPUnsupportedMediaType
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise web.HTTPUnsupportedMediaType
    if request.content.is_eof():  # it came with the head, as nearly all do: nothing to wait for
        return await request.read()
    try:
        async with asyncio.timeout(timeout):
            return await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout from error
