"""Builds a request from a program's arguments: messages, tools and options are checked here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sized
from typing import Any, NamedTuple, TypeAlias

import msgspec

from berlin.errors import InvalidRequestError
from berlin.formats.openai.format import OpenAIChatFormat
from berlin.providers.contract import LONG_CONVERSATION
from berlin.providers.reserved import check_names
from berlin.providers.structured import ResponseType, describe_type
from berlin.types import ChatRequest, Message, Timeouts, Tool, parse_messages
from berlin.wire.json import encode_body

Prompt: TypeAlias = "str | Iterable[Message | Mapping[str, Any]] | ChatRequest"
"""A prompt, the messages of a conversation, or a whole request."""

Limits: TypeAlias = "Timeouts | float | Mapping[str, float]"
"""Total seconds, the four limits, or some of them by name."""

ToolLike: TypeAlias = "Tool | Mapping[str, Any]"
"""A tool, or a dictionary in the format of OpenAI's API."""


class CallArguments(NamedTuple):
    """The keyword arguments that all methods of a provider share."""

    model: str | None
    system: str | None
    tools: Iterable[ToolLike]
    tool_choice: str | Mapping[str, Any] | None
    response_format: ResponseType | None
    conversation_id: str | None
    timeout: Limits | None


async def build_request(
    prompt: Prompt, asked: CallArguments, options: dict[str, Any], default: Timeouts
) -> ChatRequest:
    """Return the request for the arguments of a call.

    Args:
        prompt: the prompt, the messages, or the whole request.
        asked: the shared keyword arguments.
        options: other keyword arguments, for the model.
        default: the provider's limits, overridden by a number of seconds or a mapping.

    Raises:
        InvalidRequestError: if an argument cannot be sent; the error names it.
    """
    if isinstance(prompt, ChatRequest):
        given = [name for name, value in asked._asdict().items() if value not in (None, ())]
        if given or options:
            extra = ", ".join([*given, *options])
            raise InvalidRequestError(f"{extra} beside a ChatRequest: give it in the request")
        return prompt
    if isinstance(prompt, Sized) and len(prompt) > LONG_CONVERSATION and type(prompt) is not str:
        return await asyncio.to_thread(_build, prompt, asked, options, default)
    return _build(prompt, asked, options, default)


def _build(
    prompt: str | Iterable[Message | Mapping[str, Any]],
    asked: CallArguments,
    options: dict[str, Any],
    default: Timeouts,
) -> ChatRequest:
    model = asked.model
    if model is not None and not isinstance(model, str):
        raise InvalidRequestError(f"model must be text, not {type(model).__name__}")
    check_names(options)
    options.pop("stream", None)  # answers are always streamed
    timeouts = None if asked.timeout is None else Timeouts.of(asked.timeout, default)
    messages = read_messages(prompt)
    if asked.system is not None:
        messages = (Message.of("system", _text("system", asked.system)), *messages)
    parent = options.pop("parent_id", None)
    parallel = options.pop("parallel_tool_calls", None)
    request = ChatRequest(
        messages,
        model or "",
        {name: value for name, value in options.items() if value is not None},
        parallel_tool_calls=parallel,
        timeouts=timeouts,
        conversation_id=_text("conversation_id", asked.conversation_id or ""),
        parent_id=_text("parent_id", parent or ""),
    )
    tools = _read_tools(asked.tools, asked.tool_choice)
    wanted = asked.response_format
    if not tools and wanted is None:
        return request
    return msgspec.structs.replace(
        request, response_format=None if wanted is None else describe_type(wanted), **tools
    )


def read_messages(
    messages: str | Iterable[Message | Mapping[str, Any]],
) -> tuple[Message, ...]:
    """Return the messages of a conversation.

    Dictionaries with more than text (parts, tool calls, results) are parsed in the format of
    OpenAI's API.

    Raises:
        InvalidRequestError: if there are none, or one is malformed.
    """
    if isinstance(messages, str) or not isinstance(messages, Iterable):
        return parse_messages(messages)
    messages = messages if isinstance(messages, list | tuple | Mapping) else list(messages)
    if isinstance(messages, Mapping) or not any(map(_is_rich, messages)):
        return parse_messages(messages)
    # A placeholder is kept for each existing `Message`, so that indexes in errors are right.
    plain = [_HOLD if isinstance(m, Message) else m for m in messages]
    read = _read({"messages": plain}).messages
    if len(read) != len(messages):  # impossible; otherwise messages would be mixed up
        raise InvalidRequestError("messages cannot be read one by one")
    return tuple(
        given if isinstance(given, Message) else ours
        for given, ours in zip(messages, read, strict=True)
    )


_HOLD = {"role": "user", "content": ""}


def _is_rich(message: object) -> bool:
    """Whether a message is a dictionary with more than a role and text."""
    if not (type(message) is dict or isinstance(message, Mapping)):
        return False
    return not (len(message) == 2 and type(message.get("content")) is str and "role" in message)


def _read_tools(
    tools: Iterable[ToolLike], choice: str | Mapping[str, Any] | None
) -> dict[str, Any]:
    given = list(tools or ())
    if not given:
        if choice not in (None, "auto", "none"):
            raise InvalidRequestError.about("tool_choice", "needs tools")
        return {}
    whole = tuple(_read_tool(n, tool) for n, tool in enumerate(given))
    return {"tools": whole, "tool_choice": _read_choice(choice, whole)}


def _read_tool(n: int, tool: object) -> Tool:
    if isinstance(tool, Tool):
        return tool
    if not isinstance(tool, Mapping):
        raise InvalidRequestError.about(
            f"tools[{n}]",
            f"must be a Tool or a dictionary as in OpenAI's API, not {type(tool).__name__}; "
            "describe a function as Tool(name, description, JSON Schema of its arguments)",
        )
    read = _read({"tools": [tool]}).tools
    if not read:
        raise InvalidRequestError.about(f"tools[{n}]", "is not a function")
    return read[0]


def _read_choice(choice: str | Mapping[str, Any] | None, tools: tuple[Tool, ...]) -> str:
    named = [tool.name for tool in tools]
    match choice:
        case None:
            return "auto"
        case {"function": {"name": str(name)}}:
            choice = name
        case {"type": "auto" | "none" | "required" as kind}:
            return str(kind)
    if isinstance(choice, str) and choice in ("auto", "none", "required", *named):
        return choice
    known = ", ".join(named)
    raise InvalidRequestError.about(
        "tool_choice", f"must be auto, none, required, or the name of a tool: {known}"
    )


def _read(body: dict[str, Any]) -> ChatRequest:
    """Parse a request in the format of OpenAI's API."""
    whole = {"messages": [_HOLD], **body}
    return OpenAIChatFormat().decode_request(encode_body(whole)).request


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidRequestError.about(name, f"must be text, not {type(value).__name__}")
    return value
