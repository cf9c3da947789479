"""A request for an answer, parsed once where it comes in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from berlin.types.extra import MaybeExtra
from berlin.types.messages import Message, parse_messages
from berlin.types.secret import Identity
from berlin.types.timeouts import Timeouts


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call, or a tool that the service itself runs.

    Attributes:
        name: the function's name.
        description: what it does.
        parameters: its JSON Schema as JSON text.
        strict: whether the arguments must follow the schema; `None` leaves it to the service.
        hosted: whether the service runs it itself (a web search …); it is then complete in `extra`.
        extra: its dialect-specific members.
    """

    name: str
    description: str = ""
    parameters: str = "{}"
    strict: bool | None = None
    hosted: bool = False
    extra: MaybeExtra = None


class ResponseFormat(msgspec.Struct, frozen=True):
    """The required form of the answer: JSON, with a schema if there is one.

    Attributes:
        schema: a JSON Schema as JSON text; `""` asks for any JSON object.
        name: the schema's name.
        strict: whether the answer must follow it exactly.
        description: its purpose.
        extra: its dialect-specific members.
    """

    schema: str = ""
    name: str = ""
    strict: bool | None = None
    description: str = ""
    extra: MaybeExtra = None


class Reasoning(msgspec.Struct, frozen=True):
    """The amount of reasoning before the answer.

    Attributes:
        effort: `none`, `minimal`, `low`, `medium`, `high` …, as the service names it; `""` unset.
        budget_tokens: the most tokens for it, if the caller sets a number.
        extra: its dialect-specific members.
    """

    effort: str = ""
    budget_tokens: int | None = None
    extra: MaybeExtra = None


class ChatRequest(msgspec.Struct, frozen=True):
    """A chat request to a provider.

    Attributes:
        messages: the conversation, oldest first; at least one.
        model: the service's name of the model; `""` is the provider's default.
        options: sampling options by their usual names (`temperature`, `max_tokens`, …) and
            whatever this service alone supports; an option of `None` counts as not set.
        tools: functions that the model may call.
        tool_choice: `auto`, `none`, `required`, or the name of one tool.
        parallel_tool_calls: whether several calls may come in one answer; `None` leaves it to
            the service.
        response_format: the required form of the answer.
        reasoning: how much to reason first; `None` leaves it to the service.
        timeouts: limits for this request; `None` leaves the provider's own.
        conversation_id: a conversation kept by the service, to be continued.
        parent_id: the message in it that this one answers.
        known_messages: how many of the messages that conversation already has: only the others
            are sent; `None`: all but the last, if the service keeps conversations.
        request_id: the caller's id of this request, which is sent to the service.
        session_id: the client's own id of its session, if it sends one; for routing only.
        tenant: the key or account of the client; for routing only.
        user: the person that the key or account belongs to; for routing only.
        identity: the caller, for services that are used on behalf of each; its token is only sent
            to their identity provider.
        unasked: names of options that have the values the client's dialect always sends: they are
            left out if a service does not support them.
        stream: whether the answer may come in pieces; `False` matters only to a service whose
            recipe says `stream = "as asked"`.
        whole: whether nothing of the answer is shown before its end, so that one that breaks off
            may be requested again; for routing only.
        retried: whether it is sent again if it fails, by what is around the provider: then the
            provider itself does not; for routing only.
        extra: members of the client's dialect without a counterpart in this type.
    """

    messages: tuple[Message, ...]
    model: str = ""
    options: Mapping[str, Any] = {}
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning: Reasoning | None = None
    timeouts: Timeouts | None = None
    conversation_id: str = ""
    parent_id: str = ""
    known_messages: int | None = None
    request_id: str = ""
    session_id: str = ""
    tenant: str = ""
    user: str = ""
    identity: Identity | None = None
    stream: bool = True
    whole: bool = False
    retried: bool = False
    extra: MaybeExtra = None
    unasked: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        messages: object,
        *,
        model: str | None = None,
        timeout: Timeouts | float | None = None,
        conversation_id: str | None = None,
        parent_id: str | None = None,
        **options: Any,
    ) -> ChatRequest:
        """Return a request from a prompt or a list of messages. Raises InvalidRequestError."""
        given = {name: value for name, value in options.items() if value is not None}
        return cls(
            parse_messages(messages),
            model or "",
            given,
            timeouts=None if timeout is None else Timeouts.of(timeout, Timeouts()),
            conversation_id=conversation_id or "",
            parent_id=parent_id or "",
        )
