"""Endpoint x auth x format: the provider that every recipe becomes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from berlin.auth.login import LoginAuth
from berlin.errors import AuthenticationError, BerlinError, EmptyResponseError
from berlin.providers.base import LONG_CONVERSATION, Burst
from berlin.providers.stopwatch import Stopwatch
from berlin.transport import Response, Transport
from berlin.types import ChatRequest, HttpRequest, HttpResponse, Secret, Timeouts
from berlin.wire.format import Format
from berlin.wire.status import error_from_answer

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
        auth: LoginAuth,
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
                token = await self._token(watch, timeouts)
                try:
                    async with aclosing(self._exchange(call, token, watch, timeouts)) as bursts:
                        async for burst in bursts:
                            begun = True
                            yield burst
                    return
                except AuthenticationError:
                    self._auth.reject(token)
                    if begun or renewed:
                        raise
                    renewed = True
        except BerlinError as error:
            self._complete(error, request)
            raise

    async def aclose(self) -> None:
        """Close the connections of this loop."""
        await self._transport.aclose()

    async def check(self) -> None:
        """Get a token, by a login if need be.

        Raises:
            BerlinError: if that fails.
        """
        try:
            await self._token(Stopwatch(self._timeouts), self._timeouts)
        except BerlinError as error:
            self._complete(error, None)
            raise

    async def _encode(self, request: ChatRequest) -> HttpRequest:
        messages = request.messages
        if len(messages) > LONG_CONVERSATION or sum(len(m.text) for m in messages) > LONG_TEXT:
            return await asyncio.to_thread(self._format.encode_request, request)
        return self._format.encode_request(request)

    async def _token(self, watch: Stopwatch, timeouts: Timeouts) -> Secret:
        async def send(request: HttpRequest) -> HttpResponse:
            # The login may go on when the request that began it is gone, so it has its own time.
            return await Stopwatch(timeouts).wait(self._transport.fetch(request, timeouts.connect))

        watch.restart()
        return await watch.wait(self._auth.token(send))

    async def _exchange(
        self, call: HttpRequest, token: Secret, watch: Stopwatch, timeouts: Timeouts
    ) -> AsyncGenerator[Burst]:
        """Send the request once and give the events of each read."""
        headers = {**call.headers, **self._auth.headers(token)}
        request = msgspec.structs.replace(call, headers=headers)
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
            raise error_from_answer(answer.status, answer.headers, said)

    def _complete(self, error: BerlinError, request: ChatRequest | None) -> None:
        """Say in the error who was asked, and take out what must not be told."""
        error.provider = error.provider or self._name
        if request is not None:
            error.model = error.model or request.model or None
        message = error.message
        for secret in self._auth.secrets:
            if len(secret.reveal()) >= 4:
                message = message.replace(secret.reveal(), "***")
        error.args = (message, *error.args[1:])
