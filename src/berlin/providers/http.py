"""Endpoint x auth x format: the provider that every recipe becomes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import TypeVar

from berlin.auth.flow import Authenticator
from berlin.errors import AuthenticationError, BerlinError, EmptyResponseError
from berlin.providers.base import LONG_CONVERSATION, Burst
from berlin.providers.stopwatch import Stopwatch
from berlin.transport import Response, Transport
from berlin.types import ChatRequest, HttpRequest, HttpResponse, Secret, Timeouts, mask
from berlin.wire.format import Format
from berlin.wire.status import error_from_answer

_T = TypeVar("_T")

MAX_ERROR_BODY_BYTES = 64 * 1024
LONG_TEXT = 256 * 1024


class HttpProvider:
    """One try at a request: no retry but the one with a new token.

    Args:
        name: the provider's name, for errors.
        transport: the way to the endpoint.
        auth: how requests are authenticated.
        format: how requests and answers are written.
        timeouts: the limits of requests that bring none.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        auth: Authenticator,
        format: Format,  # the field's word for it
        timeouts: Timeouts,
    ) -> None:
        self._name = name
        self._transport = transport
        self._auth = auth
        self._format = format
        self._timeouts = timeouts

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Answer a request; see `Provider`.

        A token that the service refuses is handed in, and the request is sent once more with
        another one, unless an event has been handed on.
        """
        timeouts = request.timeouts or self._timeouts
        renewed = begun = False
        try:
            call = await self._encode(request)
            watch = Stopwatch(timeouts)
            while True:
                token = await self._token(watch)
                try:
                    async with aclosing(self._exchange(call, token, watch, timeouts)) as bursts:
                        async for burst in bursts:
                            begun = True
                            yield burst
                    return
                except AuthenticationError:
                    self._auth.reject(token)
                    if begun or renewed or token is None or not self._auth.renews:
                        raise
                    renewed = True
        except BerlinError as error:
            failure = self._complete(error, request)
        raise failure

    async def aclose(self) -> None:
        """Close the connections of this loop."""
        await self._transport.aclose()

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send one request of a login, and return the whole answer.

        It has the time that the provider gives, not what a single request has left: others may
        wait for it, and it may go on when the one who began it is gone.

        Raises:
            BerlinError: if there is no answer.
        """
        watch = Stopwatch(self._timeouts)
        return await watch.wait(self._transport.fetch(request, self._timeouts.connect))

    async def check(self) -> None:
        """Get a token, by a login if need be.

        Raises:
            BerlinError: if that fails.
        """
        await self.told_safely(self._token(Stopwatch(self._timeouts)))

    async def told_safely(self, work: Awaitable[_T]) -> _T:
        """Wait for a part of a login; its error is told as those of a request are.

        Raises:
            BerlinError: with the provider's name, and without any secret.
        """
        try:
            return await work
        except BerlinError as error:
            failure = self._complete(error, None)
        raise failure

    async def _encode(self, request: ChatRequest) -> HttpRequest:
        messages = request.messages
        if len(messages) > LONG_CONVERSATION or sum(len(m.text) for m in messages) > LONG_TEXT:
            return await asyncio.to_thread(self._format.encode_request, request)
        return self._format.encode_request(request)

    async def _token(self, watch: Stopwatch) -> Secret | None:
        watch.restart()
        return await watch.wait(self._auth.token(self.send))

    async def _exchange(
        self, call: HttpRequest, token: Secret | None, watch: Stopwatch, timeouts: Timeouts
    ) -> AsyncGenerator[Burst]:
        """Send the request once and give the events of each read."""
        request = self._auth.attach(call, token)
        watch.restart()
        response = await watch.wait(self._transport.open(request, timeouts.connect))
        try:
            await self._check_head(response, watch)
            decoder = self._format.decoder()
            while True:
                data = await watch.wait(response.read())
                events = decoder.feed(data) if data else decoder.finish()
                if events:
                    watch.progress()
                    yield events
                if decoder.failure is not None:
                    raise decoder.failure
                if not data:
                    return
        finally:
            response.close()

    async def _check_head(self, response: Response, watch: Stopwatch) -> None:
        if response.status in (204, 205):
            raise EmptyResponseError(
                f"the service answers {response.status}: no content", status=response.status
            )
        if not 200 <= response.status < 300:
            answer = await watch.wait(response.whole(MAX_ERROR_BODY_BYTES))
            said = self._format.describe_error(answer.body)
            error = error_from_answer(answer.status, answer.headers, said)
            if answer.status in self._auth.rejected_statuses:
                error = AuthenticationError(error.message, status=answer.status)
            raise error

    def _complete(self, error: BerlinError, request: ChatRequest | None) -> BerlinError:
        """Return the error as it may be told: with who was asked, and without any secret.

        Secrets stand in messages when a service echoes them, and in the locals of the frames that
        the tracebacks hold; neither is needed to understand what the message says.
        """
        error.provider = error.provider or self._name
        if request is not None:
            error.model = error.model or request.model or None
        secrets = self._auth.secrets
        link: BaseException | None = error
        while link is not None:
            link.args = tuple(
                mask(value, secrets) if isinstance(value, str) else value for value in link.args
            )
            link.__traceback__ = None
            if link.__cause__ is None and not link.__suppress_context__:
                link.__cause__ = link.__context__
            link.__context__ = None
            link = link.__cause__
        return error
