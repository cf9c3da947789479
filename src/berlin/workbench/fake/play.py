"""One endpoint of a fake: its path and its handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from aiohttp import web

from berlin.language.backwards import Received, StepReader
from berlin.types import HttpResponse

Answer: TypeAlias = Callable[[web.Request, Received], Awaitable[web.StreamResponse]]


class Play(NamedTuple):
    """Answers the requests that a reader can read."""

    reader: StepReader
    answer: Answer

    @property
    def place(self) -> str:
        """Method and path, for display."""
        return f"{self.reader.method} {self.reader.path}"


def whole(reply: Callable[[Received], HttpResponse]) -> Answer:
    """Return a handler that writes a whole answer."""

    async def answer(request: web.Request, received: Received) -> web.StreamResponse:
        made = reply(received)
        response = web.Response(
            status=made.status,
            body=made.body,
            headers={
                "Content-Type": "application/json",
                "Cache-Control": "no-store",
                **{name.title(): value for name, value in made.headers.items()},
            },
        )
        for name, value in made.cookies.items():
            response.set_cookie(name, value, path="/", httponly=True)
        return response

    return answer
