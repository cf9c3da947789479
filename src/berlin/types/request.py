"""A request for an answer, parsed once at the edge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from berlin.types.messages import Message, parse_messages
from berlin.types.timeouts import Timeouts


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call; `parameters` is its JSON Schema as JSON text."""

    name: str
    description: str = ""
    parameters: str = "{}"


class ChatRequest(msgspec.Struct, frozen=True):
    """What is asked of a provider.

    Attributes:
        messages: the conversation, oldest first; at least one.
        model: the service's name of the model; `""` is the provider's default.
        options: sampling options by their usual names (`temperature`, `max_tokens`, …) and
            whatever this service alone knows; an option of `None` counts as not given.
        tools: functions that the model may call.
        tool_choice: `auto`, `none`, `required`, or the name of one tool.
        response_format: a JSON Schema as JSON text that the answer has to follow.
        timeouts: limits for this request; `None` leaves the provider's own.
        conversation_id: a conversation that the service keeps, to go on with.
        parent_id: the message in it that this one answers.
        request_id: the caller's id of this request, which is told to the service.
    """

    messages: tuple[Message, ...]
    model: str = ""
    options: Mapping[str, Any] = {}
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    response_format: str | None = None
    timeouts: Timeouts | None = None
    conversation_id: str = ""
    parent_id: str = ""
    request_id: str = ""

    @classmethod
    def of(
        cls,
        messages: object,
        *,
        model: str | None = None,
        timeouts: Timeouts | None = None,
        conversation_id: str | None = None,
        parent_id: str | None = None,
        **options: Any,
    ) -> ChatRequest:
        """Return a request from a prompt or a list of messages.

        Raises:
            InvalidRequestError: if `messages` cannot be sent.
        """
        given = {name: value for name, value in options.items() if value is not None}
        return cls(
            parse_messages(messages),
            model or "",
            given,
            timeouts=timeouts,
            conversation_id=conversation_id or "",
            parent_id=parent_id or "",
        )
