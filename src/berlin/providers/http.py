"""Endpoint x auth x format: the provider built from every recipe."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Awaitable
from typing import TypeVar

import msgspec

from berlin.auth.access import AccessToken
from berlin.auth.authenticator import Authenticator
from berlin.auth.contract import Person
from berlin.errors import AuthenticationError, BerlinError, ProtocolError
from berlin.formats.contract import Format, SessionFormat
from berlin.language.tables.models import FetchMap
from berlin.providers.attempt import Attempt, LoginPageError, Opening, advance
from berlin.providers.contract import Burst, is_long
from berlin.providers.long import MAX_EVENTS, decode, slices
from berlin.providers.reserved import check_values
from berlin.providers.stopwatch import Stopwatch
from berlin.transport import Sender
from berlin.transport.sender import LONG_BYTES, MAX_WHOLE_BODY_BYTES, off_loop
from berlin.types import (
    ChatRequest,
    Finished,
    HttpRequest,
    HttpResponse,
    Secret,
    Started,
    Timeouts,
    mask,
)
from berlin.wire.html import is_page

# A service lists up to 10,000 models, each with whatever it says of it.
MAX_LIST_BYTES = 16 * 1024 * 1024

_T = TypeVar("_T")


class HttpProvider:
    """Makes one attempt at a request; retries only with a new token.

    Args:
        name: the provider's name, for errors.
        transport: the transport to the endpoint.
        auth: how requests are authenticated.
        format: encodes requests and decodes answers.
        timeouts: the limits of requests that set none.
    """

    def __init__(
        self,
        name: str,
        transport: Sender,
        auth: Authenticator,
        format: Format,  # the usual word for it
        timeouts: Timeouts,
    ) -> None:
        self._name = name
        self._transport = transport
        self._auth = auth
        self._format = format
        # Requests that contain values of the login can only be built after it.
        self._bound = format if isinstance(format, SessionFormat) and format.session_names else None
        self._timeouts = timeouts

    def with_auth(self, auth: Authenticator) -> HttpProvider:
        """Return a provider with the same connections, whose requests are authenticated by this."""
        twin = copy.copy(self)
        twin._auth = auth
        return twin

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Answer a request; see `Provider`.

        If the service rejects the token, the request is sent once more with a new one, unless an
        event was already passed on.
        """
        timeouts = request.timeouts or self._timeouts
        renewed = begun = False
        try:
            # A request that this service cannot handle fails here, before a login.
            opening = await self._open(request, None)
            with Stopwatch(timeouts) as watch:
                while True:
                    token = self._auth.token_at_hand() or await self._token(watch)
                    attempt = self._attempt(token, watch, timeouts.connect, request.request_id)
                    try:
                        if self._bound is not None:
                            opening = await self._open(request, token)
                        answer, call = await attempt.ask(opening)
                        try:
                            decoder = self._format.decoder()
                            data = head = b""
                            pending = 0
                            while not decoder.done:
                                data = await watch.wait(answer.read())
                                pending += len(data)
                                if pending > LONG_BYTES:
                                    thread = asyncio.to_thread(decode, decoder, data, answer)
                                    events = await watch.wait(thread)
                                else:
                                    events = decode(decoder, data, answer)
                                head = head or data
                                if events:
                                    watch.progress()
                                    if not begun:
                                        begun, call = True, self._begun(call, request, events)
                                        opening = call, None
                                    if pending > LONG_BYTES or len(events) > MAX_EVENTS:
                                        for part in slices(events):
                                            yield _in_conversation(part, call)
                                            await asyncio.sleep(0)
                                    elif call.conversation_id:
                                        yield _in_conversation(events, call)
                                    else:
                                        yield events
                                    pending = 0
                                elif self._format.poll_s is None and not data.isspace():
                                    # Pings and comments: the service is still working.
                                    watch.progress()
                                if decoder.failure is not None:
                                    raise self._explain(decoder.failure, head, begun)
                            if data and not answer.has_ended:
                                await attempt.drain(answer, call)
                        finally:
                            answer.close()
                        if call.after:
                            await attempt.follow_up(call)
                        return
                    except AuthenticationError as error:
                        self._auth.reject(token)
                        if begun or renewed or token is None or not self._auth.renews:
                            raise (
                                error.cause if isinstance(error, LoginPageError) else error
                            ) from None
                        renewed = True
                        opening = await self._open(request, None)
        except BerlinError as error:
            failure = self._complete(error, request)
        # Error reporters show the locals of this last frame: keep the answer's data out of them.
        data, head, events = b"", b"", []
        raise failure

    def _begun(self, call: HttpRequest, request: ChatRequest, events: Burst) -> HttpRequest:
        """Add to the first events what was dropped; return the call without its body.

        It is not sent again, so the body is not kept while the answer streams.
        """
        if call.dropped:
            events.insert(0, Started(self._name, request.model, 1, call.dropped))
        return msgspec.structs.replace(call, body=b"")

    async def aclose(self) -> None:
        """Close the connections of this loop."""
        await self._transport.aclose()

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send one request of a login, and return the whole response.

        It has the provider's limits, not the remaining time of a single request: other requests may
        wait for it, and it may continue after the request that started it is gone.

        Raises:
            BerlinError: if there is no answer.
        """
        with Stopwatch(self._timeouts) as watch:
            return await watch.wait(self._whole(request))

    async def check(self) -> None:
        """Obtain a token, logging in if necessary.

        Raises:
            BerlinError: if that fails.
        """
        with Stopwatch(self._timeouts) as watch:
            await self.without_secrets(self._token(watch))

    async def token(self) -> AccessToken:
        """Return a currently valid token, logging in if necessary.

        Raises:
            BerlinError: if that fails.
        """
        with Stopwatch(self._timeouts) as watch:
            return await self.without_secrets(watch.wait(self._auth.access(self.send)))

    async def log_in(self, person: Person | None) -> None:
        """Log in again, even if that needs a person (a device code), and keep the token.

        Args:
            person: the person who enters a code or logs in with a browser.

        Raises:
            BerlinError: if that fails.
        """
        if not await self.without_secrets(self._auth.log_in(self.send, person)):
            await self.check()

    async def list_models(self, described: FetchMap) -> tuple[str, ...]:
        """Return the models that the service lists.

        Raises:
            BerlinError: if it lists none.
        """
        call = HttpRequest("GET", described.path, {"Accept": "application/json"})
        answer = await self.call(call, limit=MAX_LIST_BYTES)
        return await off_loop(len(answer.body), lambda: described.read(answer.body))

    async def call(
        self, request: HttpRequest, request_id: str = "", limit: int = MAX_WHOLE_BODY_BYTES
    ) -> HttpResponse:
        """Send one request other than a chat, with a token, and return the whole response.

        If the service rejects the token, the request is sent once more with a new one.

        Raises:
            BerlinError: if there is no successful response.
        """
        return await self.without_secrets(self._call(request, request_id, limit))

    async def _call(self, request: HttpRequest, request_id: str, limit: int) -> HttpResponse:
        with Stopwatch(self._timeouts) as watch:
            renewed = False
            while True:
                token = await self._token(watch)
                attempt = self._attempt(token, watch, self._timeouts.connect, request_id)
                watch.restart()
                try:
                    return await watch.wait(attempt.fetch(request, limit))
                except AuthenticationError:
                    self._auth.reject(token)
                    if renewed or token is None or not self._auth.renews:
                        raise
                    renewed = True

    async def without_secrets(self, work: Awaitable[_T]) -> _T:
        """Wait for a part of a login.

        Raises:
            BerlinError: like that of a request: with the provider's name and without secrets.
        """
        try:
            return await work
        except BerlinError as error:
            failure = self._complete(error, None)
        raise failure

    async def _open(self, request: ChatRequest, token: Secret | None) -> Opening:
        """Return the first request of an exchange, and the remaining exchange."""
        if is_long(request):
            return await asyncio.to_thread(self._begin, request, token)
        return self._begin(request, token)

    def _begin(self, request: ChatRequest, token: Secret | None) -> Opening:
        if request.options:
            check_values(request.options, self._auth.secrets)
        if self._bound is None:
            exchange = self._format.encode_request(request)
        else:
            session = self._auth.session(token, self._bound.session_names)
            exchange = self._bound.encode_with(request, session)
        return advance(exchange)

    async def _whole(self, request: HttpRequest) -> HttpResponse:
        response = await self._transport.open(request, self._timeouts.connect)
        try:
            return await response.whole()
        finally:
            response.close()

    def _attempt(
        self, token: Secret | None, watch: Stopwatch, connect_timeout: float, request_id: str
    ) -> Attempt:
        return Attempt(
            self._transport, self._auth, self._format, token, watch, connect_timeout, request_id
        )

    async def _token(self, watch: Stopwatch) -> Secret | None:
        watch.restart()
        return await watch.wait(self._auth.token(self.send))

    def _explain(self, failure: BerlinError, head: bytes, begun: bool) -> BerlinError:
        """Return the error for a bad response: a web page may mean that a session has expired."""
        is_first = isinstance(failure, ProtocolError) and not begun
        if is_first and self._auth.is_browser_session and is_page(head):
            return LoginPageError(failure)
        return failure

    def _complete(self, error: BerlinError, request: ChatRequest | None) -> BerlinError:
        """Return the error with the provider's name and without secrets.

        Secrets appear in messages if a service echoes them, and in the locals of traceback frames;
        neither is needed to understand the message.
        """
        error.provider = error.provider or self._name
        error.names = error.names or self._auth.names
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


def _in_conversation(events: Burst, call: HttpRequest) -> Burst:
    """Return events whose `Finished` names the conversation, if only the requests knew it."""
    if not isinstance(events[-1], Finished) or events[-1].conversation_id:
        return events
    end = msgspec.structs.replace(events[-1], conversation_id=call.conversation_id)
    return [*events[:-1], end]
