"""One attempt at a chat with one token: its requests, the meaning of its statuses, and its bytes,
which come from one response or from several that are polled.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

import msgspec

from berlin.auth.authenticator import Authenticator
from berlin.errors import AuthenticationError, BerlinError, EmptyResponseError
from berlin.formats.contract import Exchange, Format
from berlin.providers.stopwatch import Stopwatch
from berlin.transport import Answer, Sender
from berlin.transport.sender import MAX_WHOLE_BODY_BYTES, off_loop
from berlin.types import HttpRequest, HttpResponse, Secret
from berlin.wire.status import error_from_answer

# Seconds to wait for the end of the body after the end marker, to reuse the connection.
DRAIN_S = 0.1

# JSON has line ends only between tokens; in broken JSON they do not matter.
_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")
MAX_ERROR_BODY_BYTES = 64 * 1024

Opening: TypeAlias = tuple[HttpRequest, Exchange | None]
"""The first request of an exchange, and the remaining exchange."""


class PolledBody:
    """A polled answer: each response is one line.

    Args:
        fetch: sends one poll.
        pause_s: seconds between two requests.
    """

    def __init__(self, fetch: Callable[[], Awaitable[HttpResponse]], pause_s: float) -> None:
        self._fetch = fetch
        self._pause_s = pause_s
        self._pause = 0.0
        self.has_ended = False

    async def read(self) -> bytes:
        """Return the next line."""
        await asyncio.sleep(self._pause)
        self._pause = self._pause_s
        answer = await self._fetch()
        return answer.body.translate(_LINE_ENDS) + b"\n"

    def close(self) -> None:
        """Do nothing: each response was closed when it was read."""


Body: TypeAlias = Answer | PolledBody
"""The bytes of an answer."""


def advance(exchange: Exchange, answer: HttpResponse | None = None) -> Opening:
    """Return the next request of an exchange, and what remains of it."""
    try:
        return next(exchange) if answer is None else exchange.send(answer), exchange
    except StopIteration as done:
        return done.value, None


class Attempt(msgspec.Struct, frozen=True):
    """One attempt.

    Attributes:
        transport: the transport to the endpoint.
        auth: attaches the token to requests.
        format: decodes answers.
        token: the token.
        watch: enforces the time limits.
        connect_timeout: seconds to connect.
        request_id: the caller's id of the request; `""` if there is none.
    """

    transport: Sender
    auth: Authenticator
    format: Format
    token: Secret | None
    watch: Stopwatch
    connect_timeout: float
    request_id: str

    async def ask(self, opening: Opening) -> tuple[Body, HttpRequest]:
        """Send the requests before the chat, then the chat; return its response and the request.

        Raises:
            BerlinError: if one of them fails.
        """
        call, exchange = opening
        while exchange is not None:
            self.watch.restart()
            answer = await self.watch.wait(self.fetch(call))
            call, exchange = await off_loop(len(answer.body), partial(advance, exchange, answer))
        self.watch.restart()
        if self.format.poll_s is not None:
            return PolledBody(partial(self.fetch, call), self.format.poll_s), call
        opened = await self.watch.wait(self._send(call))
        try:
            for request in call.meanwhile:
                await self.watch.wait(self.fetch(request))
        except BaseException:
            opened.close()
            raise
        return opened, call

    async def drain(self, body: Body, call: HttpRequest) -> None:
        """Read what follows a complete answer, if it arrives immediately: the connection is reused.

        Args:
            body: the answer.
            call: the request.
        """
        if self.format.poll_s is not None or call.socket is not None:
            return
        with contextlib.suppress(BerlinError, TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while await body.read():
                    pass

    async def follow_up(self, call: HttpRequest) -> None:
        """Send the requests after the answer; their failures are ignored."""
        for request in call.after:
            with contextlib.suppress(BerlinError):
                await self.watch.wait(self.fetch(request))

    async def fetch(self, request: HttpRequest, limit: int = MAX_WHOLE_BODY_BYTES) -> HttpResponse:
        """Send one request and return its whole response. Raises BerlinError."""
        response = await self._send(request, may_be_empty=True)
        try:
            return await response.whole(limit)
        finally:
            response.close()

    async def _send(self, request: HttpRequest, *, may_be_empty: bool = False) -> Answer:
        """Send a request with its token, and return a successful response."""
        attached = self.auth.attach(request, self.token) if request.credentials else request
        if self.request_id:
            named = {**attached.headers, "X-Request-ID": self.request_id}
            attached = msgspec.structs.replace(attached, headers=named)
        response = await self.transport.open(attached, self.connect_timeout)
        status = response.status
        is_success = status in request.success if request.success else 200 <= status < 300
        if is_success and (may_be_empty or status not in (204, 205)):
            return response
        try:
            raise await self._error_of(response)
        finally:
            response.close()

    async def _error_of(self, response: Answer) -> BerlinError:
        """Return the error for an unsuccessful response."""
        status = response.status
        if status in (204, 205):
            return EmptyResponseError(f"the service answers {status}: no content", status=status)
        answer = await response.whole(MAX_ERROR_BODY_BYTES)
        said = self.format.describe_error(answer.body)
        error = error_from_answer(status, answer.headers, said, answer.body)
        # A web page, of the service or of a proxy before it, may contain anything.
        error.private = answer.body.lstrip()[:1] == b"<"
        if status in (302, 303) and self.auth.is_browser_session:
            return LoginPageError(error)
        if status in self.auth.login.rejected_statuses:
            return AuthenticationError(error.message, status=status)
        return error


class LoginPageError(AuthenticationError):
    """A response that is a web page or redirects to one: how a service tells browsers that a
    session has expired.

    Attributes:
        cause: the error to raise if logging in again does not help.
    """

    def __init__(self, cause: BerlinError) -> None:
        super().__init__(cause.message, status=cause.status)
        self.cause = cause
