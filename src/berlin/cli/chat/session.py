"""A conversation in progress: its messages, its model, and its store."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import msgspec

from berlin.cli.chat.answer import Answer
from berlin.cli.chat.history import Conversation, Entry, History
from berlin.cli.terminal import warn
from berlin.errors import ConfigurationError
from berlin.providers.reserved import check_names
from berlin.types import ChatRequest, Message, ResponseFormat, Timeouts
from berlin.types.messages import Part, TextPart


class AnswerSettings(msgspec.Struct, frozen=True):
    """The settings of every answer from the command line.

    Attributes:
        timeout: the time limit for an answer, in seconds.
    """

    system: str | None = None
    options: dict[str, Any] = {}
    timeout: float | None = None
    response_format: ResponseFormat | None = None


class Session:
    """One conversation.

    Args:
        wishes: the settings of every answer.
        history: its store; `None` stores nothing.
    """

    def __init__(self, wishes: AnswerSettings, history: History | None) -> None:
        self._wishes = wishes
        self._history = history
        self._id = ""
        self._service_id = ""
        self._parent_id = ""
        self.messages: list[Message] = []
        self.restart()

    @property
    def system(self) -> str:
        """The system prompt; `""` if none."""
        return "".join(m.text for m in self.messages if m.role == "system")

    @system.setter
    def system(self, text: str) -> None:
        rest = [m for m in self.messages if m.role != "system"]
        self.messages = [*([Message.of("system", text)] if text else []), *rest]

    @property
    def last_question(self) -> str:
        """The text of the last question; `""` if there was none."""
        return next((m.text for m in reversed(self.messages) if m.role == "user"), "")

    def restart(self) -> None:
        """Begin a new conversation."""
        self._id = self._service_id = self._parent_id = ""
        self.messages = []
        self.system = self._wishes.system or ""

    def resume(self, conversation: Conversation, messages: list[Message]) -> None:
        """Continue a stored conversation."""
        self._id = conversation.id
        self._service_id, self._parent_id = conversation.service_id, conversation.parent_id
        self.messages = messages
        if self._wishes.system is not None:
            self.system = self._wishes.system

    def replace(self, messages: Iterable[Message]) -> None:
        """Continue from given messages as a new conversation."""
        self.restart()
        self.messages = list(messages)

    def request(self, question: Message, model: str, limits: Timeouts) -> ChatRequest:
        """Return the request for the next answer. Raises BerlinError."""
        wishes = self._wishes
        check_names(wishes.options)
        timeouts = None if wishes.timeout is None else Timeouts.of(wishes.timeout, limits)
        asked = ChatRequest.of(
            [*self.messages, question],
            model=model,
            timeout=timeouts,
            conversation_id=self._service_id,
            parent_id=self._parent_id,
        )
        return msgspec.structs.replace(
            asked, options=wishes.options, response_format=wishes.response_format
        )

    def took(self, question: Message, answer: Answer, label: str) -> None:
        """Store a question and its answer; nothing if there was none.

        Args:
            label: the model that answered: `provider:model`.
        """
        if not answer.text:
            return
        now = time.time()
        usage = answer.usage
        entries = [
            Entry(now, question),
            Entry(
                now,
                Message.of("assistant", answer.text),
                usage.input_tokens if usage else None,
                usage.output_tokens if usage else None,
                answer.end.reason if answer.end else "stopped",
            ),
        ]
        if answer.end is not None and answer.end.conversation_id:
            self._service_id = answer.end.conversation_id
            self._parent_id = answer.end.message_id
        if self._history is not None:
            first = [Entry(now, message) for message in self.messages] if not self._id else []
            self._keep(self._history, [*first, *entries], question, label)
        self.messages += [entry.message for entry in entries]

    def _keep(self, history: History, entries: list[Entry], question: Message, label: str) -> None:
        try:
            if not self._id:
                self._id = history.begin(label, question.text)
            history.add(self._id, entries, self._service_id, self._parent_id)
        except ConfigurationError as error:
            self._history = None  # reported once; the conversation continues
            warn(error.message)


def ask_with(text: str, parts: tuple[Part, ...]) -> Message:
    """Return a question with its attachments."""
    texts = "".join(part.text for part in parts if isinstance(part, TextPart))
    rest = tuple(part for part in parts if not isinstance(part, TextPart))
    return Message("user", (TextPart(text + texts), *rest))
