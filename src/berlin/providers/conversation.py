"""A conversation: each question is sent with the history before it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Protocol, TypeAlias

from berlin.errors import InvalidRequestError, RewrittenError
from berlin.providers.blocking import iterate_blocking, run_blocking
from berlin.providers.request import read_messages
from berlin.types import (
    Accumulator,
    ChatResponse,
    Message,
    StreamEvent,
    TextDelta,
    TextReplaced,
    ToolCallPart,
    ToolResultPart,
)

Question: TypeAlias = str | Message | Iterable[Message | Mapping[str, Any]]
"""A prompt, a message, or several, such as the results of tools."""


class Asks(Protocol):
    """The part of a provider that a conversation needs."""

    def stream(self, messages: Any, **asked: Any) -> AsyncGenerator[StreamEvent]:
        """Answer event by event."""
        ...

    async def ask(self, messages: Any, **asked: Any) -> ChatResponse:
        """Answer with the whole answer."""
        ...


class Conversation:
    """A conversation with a provider; `provider.conversation()` makes one.

        chat = berlin.conversation(system="Be brief.")
        answer = await chat.ask("What is a token?")
        async for piece in chat.text("And a refresh token?"):
            print(piece, end="")

    A question whose answer fails or is abandoned changes nothing. If the service keeps
    conversations itself, its ids of the conversation and of the last answer are sent along.

    Args:
        provider: the provider that answers.
        system: the system prompt, before the messages.
        messages: the earlier messages.
        defaults: default arguments of each question.

    Attributes:
        conversation_id: the service's own id of this conversation; `""` if it keeps none.

    Raises:
        InvalidRequestError: if a message has the wrong form.
    """

    def __init__(
        self,
        provider: Asks,
        system: str | None = None,
        messages: Iterable[Message | Mapping[str, Any]] = (),
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        before = list(messages)
        self._provider = provider
        self._system = system
        self._messages = list(read_messages(before)) if before else []
        self._defaults = dict(defaults or {})
        self._parent_id = ""
        self._asking = False
        self.conversation_id = ""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages so far, without the system prompt."""
        return tuple(self._messages)

    async def ask(self, messages: Question, **asked: Any) -> ChatResponse:
        """Ask, and return the whole answer.

        Args:
            messages: the question; or messages, such as the results of tools.
            **asked: as for `ChatProvider.ask`; they take precedence over the defaults.

        Raises:
            InvalidRequestError: if an answer is still in progress, or an argument cannot be sent.
            BerlinError: if there is no answer.
        """
        said = self._begin(messages)
        try:
            answer = await self._provider.ask([*self._messages, *said], **self._arguments(asked))
            self._remember(said, answer)
        finally:
            self._asking = False
        return answer

    async def text(self, messages: Question, **asked: Any) -> AsyncGenerator[str]:
        """Ask, and yield the answer's text piece by piece.

        Args:
            messages: the question; or messages, such as the results of tools.
            **asked: as for `ChatProvider.text`; they take precedence over the defaults.

        Raises:
            InvalidRequestError: if an answer is still in progress, or an argument cannot be sent.
            BerlinError: if there is no answer, or it breaks off.
        """
        said = self._begin(messages)
        answer = Accumulator()
        try:
            events = self._provider.stream([*self._messages, *said], **self._arguments(asked))
            async with aclosing(events):
                async for event in events:
                    answer.add(event)
                    if type(event) is TextDelta:
                        yield event.text
                    elif type(event) is TextReplaced:
                        raise RewrittenError.of_stream()
            self._remember(said, answer.response())
        finally:
            self._asking = False

    def ask_sync(self, messages: Question, **asked: Any) -> ChatResponse:
        """Like `ask`, without an event loop.

        Args:
            messages, **asked: as for `ask`.

        Raises:
            BerlinError: as `ask` does.
        """
        return run_blocking(self.ask(messages, **asked))

    def text_sync(self, messages: Question, **asked: Any) -> Iterator[str]:
        """Ask like `text`, without a loop.

        Args:
            messages, **asked: as for `text`.

        Raises:
            BerlinError: as `text` does.
        """
        return iterate_blocking(self.text(messages, **asked))

    def _begin(self, messages: Question) -> tuple[Message, ...]:
        if self._asking:
            raise InvalidRequestError(
                "the previous answer is still in progress; read it to the end, or close it"
            )
        said = read_messages([messages] if isinstance(messages, Message) else messages)
        _check_results(self._messages, said)
        self._asking = True
        return said

    def _arguments(self, asked: dict[str, Any]) -> dict[str, Any]:
        known: dict[str, Any] = {"system": self._system, **self._defaults}
        if self.conversation_id:
            known |= {"conversation_id": self.conversation_id, "parent_id": self._parent_id or None}
        return {**known, **asked}

    def _remember(self, said: Iterable[Message], answer: ChatResponse) -> None:
        self._messages += [*said, Message("assistant", answer.parts)]
        self.conversation_id = answer.conversation_id or self.conversation_id
        self._parent_id = answer.message_id


def _check_results(before: list[Message], said: tuple[Message, ...]) -> None:
    """Check that the last answer's tool calls have results, as services require."""
    last = before[-1].parts if before else ()
    calls = {part.id for part in last if isinstance(part, ToolCallPart)}
    results = {p.id for m in said for p in m.parts if isinstance(p, ToolResultPart)}
    if calls - results:
        raise InvalidRequestError(
            f"the last answer calls tools; give their results first: {', '.join(sorted(calls))}"
        )
