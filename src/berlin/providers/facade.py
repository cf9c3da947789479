"""The public methods of every provider and every composition of providers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Self

import msgspec

from berlin.errors import RewrittenError
from berlin.providers.blocking import iterate_blocking, run_blocking
from berlin.providers.contract import Bursts
from berlin.providers.conversation import Conversation
from berlin.providers.request import CallArguments, Limits, Prompt, ToolLike, build_request
from berlin.providers.structured import ResponseType, parse_answer
from berlin.types import (
    Accumulator,
    ChatRequest,
    ChatResponse,
    Message,
    StreamEvent,
    TextDelta,
    TextReplaced,
    Timeouts,
)


class ChatProvider(ABC):
    """The base class of all providers: implement `bursts` to get everything else.

        class Shout(ChatProvider):
            async def bursts(self, request):
                yield [TextDelta(request.messages[-1].text.upper()), Finished()]

        print(Shout().ask_sync("hello").text)

    `text`, `ask`, `stream` and their blocking forms take the same arguments:

    * `messages`: a prompt, or the messages of a conversation (`Message` values, or dictionaries
      as OpenAI's API has them), or a whole `ChatRequest`, with no other arguments
    * `model`: the provider's own name of the model, or an alias from its recipe
    * `system`: the system prompt, before the messages
    * `tools`: `Tool` values, or dictionaries as OpenAI's API has them
    * `tool_choice`: `auto`, `none`, `required`, or the name of one tool
    * `response_format`: the type of the answer: a msgspec Struct, a dataclass, a pydantic model,
      or a JSON Schema; `ask` then sets `answer.parsed`
    * `conversation_id`: a conversation kept by the service, to continue
    * `timeout`: total seconds, or `Timeouts`
    * everything else is an option of the model, such as `temperature`
    """

    @property
    def timeouts(self) -> Timeouts:
        """The limits of requests that set none."""
        return Timeouts()

    @abstractmethod
    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request, in lists of events that arrived together.

        Args:
            request: the request.

        Returns:
            the lists, none of them empty. Exactly one event is `Finished`, and it is the last.

        Raises:
            BerlinError: while iterating, if there is no answer, or it breaks off.
        """

    async def aclose(self) -> None:
        """Close connections. The next request opens new ones."""

    async def models(self) -> tuple[str, ...]:
        """Return the models that the provider knows.

        Raises:
            BerlinError: if the service does not respond.
        """
        return ()

    async def check(self) -> None:
        """Check that requests can be sent: log in, unless there is already a token.

        Raises:
            BerlinError: if that fails.
        """

    def watch_logins(self, observe: Callable[[str], None]) -> None:
        """Call a function after each login from now on: with `ok`, or the code of the error.

        Args:
            observe: the function.
        """

    async def stream(
        self,
        messages: Prompt,
        *,
        model: str | None = None,
        system: str | None = None,
        tools: Iterable[ToolLike] = (),
        tool_choice: str | Mapping[str, Any] | None = None,
        response_format: ResponseType | None = None,
        conversation_id: str | None = None,
        timeout: Limits | None = None,
        **options: Any,
    ) -> AsyncGenerator[StreamEvent]:
        """Answer event by event; exactly one is `Finished`, and it is the last.

        Closing the generator or cancelling the task closes the connection; so does leaving the
        loop.

        Args:
            messages, model, system, tools, tool_choice, response_format, conversation_id, timeout,
                **options: see the class.

        Raises:
            InvalidRequestError: if an argument cannot be sent.
            BerlinError: if there is no answer, or it breaks off.
        """
        shared = CallArguments(
            model, system, tools, tool_choice, response_format, conversation_id, timeout
        )
        request = await build_request(messages, shared, options, self.timeouts)
        async with aclosing(self.bursts(request)) as bursts:
            async for burst in bursts:
                for event in burst:
                    yield event

    async def text(
        self,
        messages: Prompt,
        *,
        model: str | None = None,
        system: str | None = None,
        tools: Iterable[ToolLike] = (),
        tool_choice: str | Mapping[str, Any] | None = None,
        response_format: ResponseType | None = None,
        conversation_id: str | None = None,
        timeout: Limits | None = None,
        **options: Any,
    ) -> AsyncGenerator[str]:
        """Answer with text, piece by piece.

        Args:
            messages, model, system, tools, tool_choice, response_format, conversation_id, timeout,
                **options: see the class.

        Raises:
            InvalidRequestError: if an argument cannot be sent.
            BerlinError: if there is no answer, or it breaks off.
        """
        shared = CallArguments(
            model, system, tools, tool_choice, response_format, conversation_id, timeout
        )
        request = await build_request(messages, shared, options, self.timeouts)
        async with aclosing(self.bursts(request)) as bursts:
            async for burst in bursts:
                for event in burst:
                    if type(event) is TextDelta:
                        yield event.text
                    elif type(event) is TextReplaced:
                        raise RewrittenError.of_stream()

    async def ask(
        self,
        messages: Prompt,
        *,
        model: str | None = None,
        system: str | None = None,
        tools: Iterable[ToolLike] = (),
        tool_choice: str | Mapping[str, Any] | None = None,
        response_format: ResponseType | None = None,
        conversation_id: str | None = None,
        timeout: Limits | None = None,
        **options: Any,
    ) -> ChatResponse:
        """Return the whole answer.

        Args:
            messages, model, system, tools, tool_choice, response_format, conversation_id, timeout,
                **options: see the class.

        Returns:
            the answer; with `response_format`, `answer.parsed` is a value of that type.

        Raises:
            InvalidRequestError: if an argument cannot be sent.
            ProtocolError: if the answer does not match `response_format`.
            ContentFilterError: if it was refused.
            BerlinError: if there is no answer, or it breaks off.
        """
        shared = CallArguments(
            model, system, tools, tool_choice, response_format, conversation_id, timeout
        )
        request = await build_request(messages, shared, options, self.timeouts)
        # Nothing is shown before the end, so a request whose answer breaks off may be sent again.
        request = msgspec.structs.replace(request, whole=True)
        folded = Accumulator()
        async with aclosing(self.bursts(request)) as bursts:
            async for burst in bursts:
                folded.add_all(burst)
        answer = folded.response()
        return answer if response_format is None else parse_answer(answer, response_format)

    def ask_sync(self, messages: Prompt, **asked: Any) -> ChatResponse:
        """Like `ask`, without an event loop: blocks until the answer is complete.

        It also works inside a running loop (in a notebook), which is blocked meanwhile.

        Args:
            messages, **asked: as for `ask`.

        Raises:
            BerlinError: as `ask` does.
        """
        return run_blocking(self.ask(messages, **asked))

    def text_sync(self, messages: Prompt, **asked: Any) -> Iterator[str]:
        """Like `text`, without an event loop: each step blocks until the next piece arrives.

        Args:
            messages, **asked: as for `text`.

        Raises:
            BerlinError: as `text` does.
        """
        return iterate_blocking(self.text(messages, **asked))

    def conversation(
        self,
        *,
        system: str | None = None,
        messages: Iterable[Message | Mapping[str, Any]] = (),
        **defaults: Any,
    ) -> Conversation:
        """Return a conversation, which keeps its history.

        Args:
            system: the system prompt, before the messages.
            messages: the earlier messages.
            **defaults: default arguments of each question, such as `model` and `temperature`.

        Raises:
            InvalidRequestError: if a message has the wrong form.
        """
        return Conversation(self, system, messages, defaults)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()
