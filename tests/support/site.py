"""A web site that a test writes, path by path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from aiohttp import web

from support.playing import listening

Reply: TypeAlias = web.Response | Callable[[web.BaseRequest], Awaitable[web.Response]]


class Site:
    """A web site that answers some paths, `*` all others, and notes every request."""

    def __init__(self, answers: dict[str, Reply]) -> None:
        self.answers = answers
        self.requests: list[web.BaseRequest] = []
        self.url = ""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.requests.append(request)
        made = self.answers.get(request.path, self.answers.get("*"))
        if made is None:
            return web.Response(status=404, text="nothing here")
        if not isinstance(made, web.Response):
            return await made(request)
        return web.Response(status=made.status, body=made.body, headers=dict(made.headers.items()))


@asynccontextmanager
async def open_site(**answers: Reply) -> AsyncIterator[Site]:
    site = Site(answers)
    async with listening(web.ServerRunner(web.Server(site.answer))) as port:
        site.url = f"http://127.0.0.1:{port}"
        yield site
