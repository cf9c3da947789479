"""Endpoint x auth x format: the provider that every recipe becomes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec

from berlin.auth.access import AccessToken
from berlin.auth.contract import Authenticator, Person
from berlin.errors import AuthenticationError, BerlinError, EmptyResponseError, ProtocolError
from berlin.formats.contract import Exchange, Format, SessionFormat
from berlin.language.models import FetchMap
from berlin.providers.contract import Burst, is_long
from berlin.providers.reserved import check_values
from berlin.providers.stopwatch import Stopwatch
from berlin.transport import Answer, Sender
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
from berlin.wire.status import error_from_answer

_T = TypeVar("_T")

MAX_ERROR_BODY_BYTES = 64 * 1024
# After the mark of the end, for the end of the body: then the connection can be used again.
DRAIN_S = 0.1


_Opening: TypeAlias = tuple[HttpRequest, Exchange | None]


class _Way(NamedTuple):
    """How the requests of one try travel."""

    transport: Sender
    token: Secret | None
    watch: Stopwatch
    connect_timeout: float
    request_id: str


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
        transport: Sender,
        auth: Authenticator,
        format: Format,  # the field's word for it
        timeouts: Timeouts,
    ) -> None:
        self._name = name
        self._transport = transport
        self._auth = auth
        self._format = format
        # Requests that hold values of the login can only be written after it.
        self._bound = format if isinstance(format, SessionFormat) and format.session_names else None
        self._timeouts = timeouts

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Answer a request; see `Provider`.

        A token that the service refuses is handed in, and the request is sent once more with
        another one, unless an event has been handed on.
        """
        timeouts = request.timeouts or self._timeouts
        renewed = begun = False
        try:
            # What this service cannot be asked ends here, before a login.
            opening = await self._open(request, None)
            with Stopwatch(timeouts) as watch:
                while True:
                    token = self._auth.token_at_hand() or await self._token(watch)
                    way = _Way(self._transport, token, watch, timeouts.connect, request.request_id)
                    try:
                        if self._bound is not None:
                            opening = await self._open(request, token)
                        answer, call = await self._ask(opening, way)
                        try:
                            decoder = self._format.decoder()
                            data = head = b""
                            while not decoder.done:
                                data = await watch.wait(answer.read())
                                events = decoder.feed(data) if data else decoder.finish()
                                head = head or data
                                if events:
                                    watch.progress()
                                    if call.dropped and not begun:
                                        names = (self._name, request.model, 1, call.dropped)
                                        events.insert(0, Started(*names))
                                    begun = True
                                    yield _in_conversation(events, call)
                                elif self._format.poll_s is None and not data.isspace():
                                    # Pings and comments: the service is at work.
                                    watch.progress()
                                if decoder.failure is not None:
                                    raise self._explained(decoder.failure, head, begun)
                            if data and self._format.poll_s is None and call.socket is None:
                                await _drain(answer)
                        finally:
                            answer.close()
                        await self._follow_up(call, way)
                        return
                    except AuthenticationError as error:
                        self._auth.reject(token)
                        if begun or renewed or token is None or not self._auth.renews:
                            raise (
                                error.said if isinstance(error, _LoginPageError) else error
                            ) from None
                        renewed = True
                        opening = await self._open(request, None)
        except BerlinError as error:
            failure = self._complete(error, request)
        # Tracebacks end here, and tools that report them show the locals: nothing that came in.
        data, head, events = b"", b"", []
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
        with Stopwatch(self._timeouts) as watch:
            return await watch.wait(self._whole(request))

    async def check(self) -> None:
        """Get a token, by a login if need be.

        Raises:
            BerlinError: if that fails.
        """
        with Stopwatch(self._timeouts) as watch:
            await self.told_safely(self._token(watch))

    async def token(self) -> AccessToken:
        """Return a token that is valid now, by a login if need be.

        Raises:
            BerlinError: if that fails.
        """
        with Stopwatch(self._timeouts) as watch:
            return await self.told_safely(watch.wait(self._auth.access(self.send)))

    async def log_in(self, person: Person | None) -> None:
        """Log in anew, also where that needs a person (a device code), and keep the token.

        Args:
            person: who takes part: types a code, or logs in in a browser.

        Raises:
            BerlinError: if that fails.
        """
        if not await self.told_safely(self._auth.log_in(self.send, person)):
            await self.check()

    async def list_models(self, described: FetchMap) -> tuple[str, ...]:
        """Return the models that the service lists.

        Raises:
            BerlinError: if it does not.
        """
        call = HttpRequest("GET", described.path, {"Accept": "application/json"})
        return described.read((await self.call(call)).body)

    async def call(self, request: HttpRequest, request_id: str = "") -> HttpResponse:
        """Send one request that is not a chat, with a token, and return the whole answer.

        A token that the service refuses is rejected, and the request is sent once more.

        Raises:
            BerlinError: if there is no good answer.
        """
        return await self.told_safely(self._call(request, request_id))

    async def _call(self, request: HttpRequest, request_id: str) -> HttpResponse:
        with Stopwatch(self._timeouts) as watch:
            renewed = False
            while True:
                token = await self._token(watch)
                way = _Way(self._transport, token, watch, self._timeouts.connect, request_id)
                watch.restart()
                try:
                    return await watch.wait(self._fetch(request, way))
                except AuthenticationError:
                    self._auth.reject(token)
                    if renewed or token is None or not self._auth.renews:
                        raise
                    renewed = True

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

    async def _open(self, request: ChatRequest, token: Secret | None) -> _Opening:
        """Return the first request of an exchange, and the rest of it."""
        if is_long(request):
            return await asyncio.to_thread(self._begin, request, token)
        return self._begin(request, token)

    def _begin(self, request: ChatRequest, token: Secret | None) -> _Opening:
        check_values(request.options, self._auth.secrets)
        if self._bound is None:
            exchange = self._format.encode_request(request)
        else:
            session = self._auth.session(token, self._bound.session_names)
            exchange = self._bound.encode_with(request, session)
        try:
            return next(exchange), exchange
        except StopIteration as done:
            return done.value, None

    async def _whole(self, request: HttpRequest) -> HttpResponse:
        response = await self._transport.open(request, self._timeouts.connect)
        try:
            return await response.whole()
        finally:
            response.close()

    async def _token(self, watch: Stopwatch) -> Secret | None:
        watch.restart()
        return await watch.wait(self._auth.token(self.send))

    async def _ask(self, opening: _Opening, way: _Way) -> tuple[_Body, HttpRequest]:
        """Send what comes before the chat, then the chat, and return its answer and itself."""
        call, exchange = opening
        while exchange is not None:
            way.watch.restart()
            answer = await way.watch.wait(self._fetch(call, way))
            try:
                call = exchange.send(answer)
            except StopIteration as done:
                call, exchange = done.value, None
        way.watch.restart()
        if self._format.poll_s is not None:
            return _Polled(partial(self._fetch, call, way), self._format.poll_s), call
        return await way.watch.wait(self._send(call, way)), call

    async def _follow_up(self, call: HttpRequest, way: _Way) -> None:
        """Send what comes after the answer; whether it succeeds does not matter any more."""
        for request in call.after:
            with contextlib.suppress(BerlinError):
                await way.watch.wait(self._fetch(request, way))

    def _explained(self, failure: BerlinError, head: bytes, begun: bool) -> BerlinError:
        """Return what a bad answer means: a web page, where a login runs out, that it has."""
        is_first = isinstance(failure, ProtocolError) and not begun
        if is_first and self._auth.is_browser_session and is_page(head):
            return _LoginPageError(failure)
        return failure

    async def _fetch(self, request: HttpRequest, way: _Way) -> HttpResponse:
        response = await self._send(request, way)
        try:
            return await response.whole()
        finally:
            response.close()

    async def _send(self, request: HttpRequest, way: _Way) -> Answer:
        """Send a request with its token, and return an answer that is a success."""
        attached = self._auth.attach(request, way.token)
        if way.request_id:
            named = {**attached.headers, "X-Request-ID": way.request_id}
            attached = msgspec.structs.replace(attached, headers=named)
        response = await way.transport.open(attached, way.connect_timeout)
        if 200 <= response.status < 300 and response.status not in (204, 205):
            return response
        try:
            raise await self._refusal(response)
        finally:
            response.close()

    async def _refusal(self, response: Answer) -> BerlinError:
        """Return what an answer means that is no success."""
        status = response.status
        if status in (204, 205):
            return EmptyResponseError(f"the service answers {status}: no content", status=status)
        answer = await response.whole(MAX_ERROR_BODY_BYTES)
        said = self._format.describe_error(answer.body)
        error = error_from_answer(status, answer.headers, said)
        # A page for people, of the service or of something in front of it, may show anything.
        error.private = answer.body.lstrip()[:1] == b"<"
        if status in (302, 303) and self._auth.is_browser_session:
            return _LoginPageError(error)
        if status in self._auth.rejected_statuses:
            return AuthenticationError(error.message, status=status)
        return error

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


class _LoginPageError(AuthenticationError):
    """An answer that is a page, or leads to one: how browsers learn that a session has ended.

    Attributes:
        said: what it means if another login does not help.
    """

    def __init__(self, said: BerlinError) -> None:
        super().__init__(said.message, status=said.status)
        self.said = said


def _in_conversation(events: Burst, call: HttpRequest) -> Burst:
    """Return events whose end names the conversation, where only the requests knew it."""
    if not call.conversation_id or not isinstance(events[-1], Finished):
        return events
    if events[-1].conversation_id:
        return events
    end = msgspec.structs.replace(events[-1], conversation_id=call.conversation_id)
    return [*events[:-1], end]


class _Body(Protocol):
    """What an answer is read from."""

    def read(self) -> Awaitable[bytes]:
        """Return the next bytes; `b""` is the end."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class _Polled:
    """An answer that is asked for again and again: each time, all of it is one line.

    Args:
        fetch: asks once.
        pause_s: seconds between two questions.
    """

    def __init__(self, fetch: Callable[[], Awaitable[HttpResponse]], pause_s: float) -> None:
        self._fetch = fetch
        self._pause_s = pause_s
        self._pause = 0.0

    async def read(self) -> bytes:
        await asyncio.sleep(self._pause)
        self._pause = self._pause_s
        answer = await self._fetch()
        return answer.body.translate(_LINE_ENDS) + b"\n"

    def close(self) -> None:
        pass


# JSON has line ends between its tokens only; in broken JSON they do not matter.
_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")


async def _drain(answer: _Body) -> None:
    """Read a body that has said all it has to say to its end, if that comes at once."""
    with contextlib.suppress(BerlinError, TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while await answer.read():
                pass
