"""What a provider is: a stream of events, and what every provider can do because of that."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable, Sized
from contextlib import aclosing
from typing import Any, ClassVar, Protocol, Self, TypeAlias

from berlin.errors import InvalidRequestError
from berlin.providers.blocking import run_blocking
from berlin.types import (
    Accumulator,
    ChatRequest,
    ChatResponse,
    Messages,
    StreamEvent,
    TextDelta,
    Timeouts,
)

AsyncResult: TypeAlias = AsyncIterator[str]

# Longer conversations are parsed and encoded in a thread, so that the loop goes on.
LONG_CONVERSATION = 500
LONG_TEXT = 256 * 1024

# Names that callers have tried to pass as options; each would change more than the answer.
_OF_PROVIDER = frozenset({"account", "password", "proxy", "url"})
_OF_PROTOCOL = frozenset({"headers", "messages", "prompt", "token"})


Burst: TypeAlias = list[StreamEvent]
"""Events that came together, in one read of the network; never empty."""


class Bursts(Protocol):
    """An answer, burst by burst: an asynchronous generator, or what looks like one.

    Wrappers are no generators: each generator costs as much at its beginning and its end as
    hundreds of events do, and the loop needs to know only the innermost one to close it.
    """

    def __aiter__(self) -> AsyncIterator[Burst]:
        """Return itself."""
        ...

    def __anext__(self) -> Awaitable[Burst]:
        """Return the next burst. Raises BerlinError, and StopAsyncIteration at the end."""
        ...

    def aclose(self) -> Awaitable[None]:
        """Leave the answer: its connection is closed."""
        ...


class Provider(Protocol):
    """Answers requests with bursts of events: whatever is made of providers costs its time for
    each read, not for each token.
    """

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; exactly one event is `Finished`, and it is the last."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...


def is_long(request: ChatRequest) -> bool:
    """Whether a request is so long that work on all of it belongs into a thread."""
    messages = request.messages
    return len(messages) > LONG_CONVERSATION or sum(len(m.text) for m in messages) > LONG_TEXT


class AsyncGeneratorProvider(ABC):
    """The base of all providers: one primitive, `bursts`, and its uses."""

    url: ClassVar[str]
    working: ClassVar[bool]
    supports_gpt_35_turbo: ClassVar[bool] = False

    @property
    def timeouts(self) -> Timeouts:
        """The limits of requests that bring none of their own."""
        return Timeouts()

    @abstractmethod
    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request, as `stream` does, in lists of the events that came together."""

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of connections. Another request opens new ones."""

    @classmethod
    @abstractmethod
    def provide(cls, proxy: str | None, settings: dict[str, Any]) -> Self:
        """Return the provider that the class stands for, taking its settings out of `settings`."""

    @classmethod
    async def create_async_generator(
        cls,
        model: str | None,
        messages: Messages,
        proxy: str | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[str]:
        """Answer messages, piece by piece of text.

        Args:
            model: the service's name of the model; `""` or `None` is its default.
            messages: `[{"role": …, "content": …}, …]`, or a prompt.
            proxy: URL of an HTTP(S) or SOCKS proxy.
            **kwargs: options for the model such as `temperature`; also `timeout` (seconds in all,
                or `Timeouts`), `account` and `password`.

        Raises:
            BerlinError: a `RuntimeError`, whatever went wrong.
        """
        provider = cls.provide(proxy, kwargs)
        async with aclosing(provider.text(messages, model=model, **kwargs)) as pieces:
            async for piece in pieces:
                yield piece

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent]:
        """Answer a request, event by event; exactly one is `Finished`, and it is the last.

        Leaving the loop, closing the generator and cancelling the task all close the connection.

        Raises:
            BerlinError: if there is no answer, or it breaks off.
        """
        async with aclosing(self.bursts(request)) as bursts:
            async for burst in bursts:
                for event in burst:
                    yield event

    async def text(
        self,
        messages: object,
        *,
        model: str | None = None,
        timeouts: Timeouts | None = None,
        **options: Any,
    ) -> AsyncGenerator[str]:
        """Answer a prompt or a list of messages, piece by piece of text.

        Raises:
            BerlinError: if there is no answer, or it breaks off.
        """
        request = await _build_request(messages, model, timeouts, options, self.timeouts)
        async with aclosing(self.bursts(request)) as bursts:
            async for burst in bursts:
                for event in burst:
                    if type(event) is TextDelta:
                        yield event.text

    async def ask(
        self,
        messages: object,
        *,
        model: str | None = None,
        timeouts: Timeouts | None = None,
        **options: Any,
    ) -> ChatResponse:
        """Answer a prompt or a list of messages, whole.

        Raises:
            BerlinError: if there is no answer, or it breaks off.
        """
        request = await _build_request(messages, model, timeouts, options, self.timeouts)
        answer = Accumulator()
        async with aclosing(self.bursts(request)) as bursts:
            async for burst in bursts:
                for event in burst:
                    answer.add(event)
        return answer.response()

    def ask_sync(
        self,
        messages: object,
        *,
        model: str | None = None,
        timeouts: Timeouts | None = None,
        **options: Any,
    ) -> ChatResponse:
        """Answer like `ask`, without a loop: blocks until the answer is there.

        It works inside a running loop too (in a notebook), which stands still meanwhile.
        """
        return run_blocking(self.ask(messages, model=model, timeouts=timeouts, **options))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def check_option_names(names: Iterable[str]) -> None:
    """Check that options are options of a model.

    Raises:
        InvalidRequestError: if one belongs to the provider or to the protocol.
    """
    for name in names:
        if name in _OF_PROVIDER:
            raise InvalidRequestError(
                f"{name} is no option of a model; give it to the provider: Berlin({name}=…)"
            )
        if name in _OF_PROTOCOL:
            raise InvalidRequestError(f"{name} is part of the protocol, not an option of a model")


async def _build_request(
    messages: object,
    model: str | None,
    timeouts: Timeouts | None,
    options: dict[str, Any],
    default: Timeouts,
) -> ChatRequest:
    check_option_names(options)
    if model is not None and not isinstance(model, str):
        raise InvalidRequestError(f"model must be text, not {type(model).__name__}")
    options.pop("stream", None)  # an answer always streams
    timeouts = None if timeouts is None else Timeouts.of(timeouts, default)
    if "timeout" in options:
        timeouts = Timeouts.of(options.pop("timeout"), timeouts or default)

    def build() -> ChatRequest:
        return ChatRequest.of(messages, model=model, timeouts=timeouts, **options)

    if isinstance(messages, Sized) and len(messages) > LONG_CONVERSATION:
        return await asyncio.to_thread(build)
    return build()
