"""What clients of Anthropic's messages send.

What says how an answer is made or billed (`thinking`, `metadata`, `cache_control`, …) is ignored,
and so is the reasoning in a conversation: only who wrote it can read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from berlin.errors import InvalidRequestError
from berlin.formats.client_request import (
    check_count,
    check_model,
    check_numbers,
    decode_member,
    decode_messages,
    decode_typed,
)
from berlin.formats.contract import ClientCall
from berlin.types import (
    ChatRequest,
    ImagePart,
    Message,
    Part,
    ResponseFormat,
    Role,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from berlin.wire.json import encode_body

# Claude Code says `system` also in the middle of a conversation.
_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}


class _Body(msgspec.Struct):
    """A request. What is not listed is ignored. Who counts tokens gives no `max_tokens`."""

    messages: list[Raw]
    model: str | None = None
    max_tokens: int | None = None
    stream: bool | None = None
    system: Raw | UnsetType = UNSET
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    tools: list[Raw] | None = None
    tool_choice: Raw | UnsetType = UNSET
    output_config: Raw | UnsetType = UNSET


_DECODER = msgspec.json.Decoder(_Body)


def decode_request(body: bytes) -> ClientCall:
    """Return what a client sent, be it a chat or a question for its tokens.

    Raises:
        InvalidRequestError: if that cannot be asked; it names the member.
    """
    sent = decode_typed(body, _DECODER)
    system = _decode_system(sent.system)
    messages = [
        message
        for n, item in enumerate(decode_messages(sent.messages))
        for message in _decode_message(item, f"messages[{n}]")
    ]
    if not messages:
        raise InvalidRequestError.about("messages", "is empty: give at least one message")
    options = {
        "max_tokens": check_count("max_tokens", sent.max_tokens),
        "temperature": sent.temperature,
        "top_p": sent.top_p,
        "top_k": sent.top_k,
        "stop": sent.stop_sequences or None,
    }
    tools = _decode_tools(sent.tools)
    choice = "auto"
    if tools:
        choice, options["parallel_tool_calls"] = _decode_choice(sent.tool_choice, tools)
    request = ChatRequest(
        (*system, *messages),
        check_model(sent.model),
        check_numbers(options),
        tools,
        choice,
        response_format=_decode_format(sent.output_config),
    )
    return ClientCall(request, bool(sent.stream), include_usage=True)


def _decode_system(raw: Raw | UnsetType) -> tuple[Message, ...]:
    content = None if raw is UNSET else decode_member(raw, "system")
    if content is None:
        return ()
    text = _decode_text(content, "system", "\n\n")
    return (Message.of("system", text),) if text else ()


def _decode_text(content: Any, param: str, between: str) -> str:
    """Return text that is given as such, or in blocks."""
    if isinstance(content, str):
        return content
    texts = [
        part.text
        for part in _decode_blocks(content, param)
        if isinstance(part, TextPart) and part.text
    ]
    return between.join(texts)


def _decode_message(message: Any, param: str) -> Iterator[Message]:
    """Give the messages that one is: the result of each tool is a message of its own."""
    if not isinstance(message, dict):
        raise InvalidRequestError.about(param, 'must be {"role": …, "content": …}')
    name, content = message.get("role"), message.get("content")
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        raise InvalidRequestError.about(f"{param}.role", f"must be one of {', '.join(_ROLES)}")
    if isinstance(content, str):
        yield Message.of(role, content)
        return
    parts = list(_decode_blocks(content, f"{param}.content"))
    said = []
    for part in parts:
        if isinstance(part, ToolResultPart):
            yield Message("tool", (part,))
        else:
            said.append(part)
    # What holds nothing but reasoning is left out.
    if said:
        yield Message(role, tuple(said))


def _decode_blocks(content: Any, param: str) -> Iterator[Part]:
    if not isinstance(content, list):
        raise InvalidRequestError.about(param, "must be text or a list of blocks")
    for n, block in enumerate(content):
        yield from _decode_block(block, f"{param}[{n}]")


def _decode_block(block: Any, param: str) -> Iterator[Part]:
    match block:
        case {"type": "text", "text": str(text)}:
            yield TextPart(text)
        case {"type": "image", "source": dict(source)}:
            yield _decode_image(source, f"{param}.source")
        case {"type": "tool_use", "id": str(id), "name": str(name), "input": dict(arguments)}:
            yield ToolCallPart(id, name, encode_body(arguments).decode())
        case {"type": "tool_result", "tool_use_id": str(id)}:
            yield from _decode_result(id, block.get("content"), f"{param}.content")
        case {"type": "thinking" | "redacted_thinking"}:
            pass
        case {"type": "text" | "image" | "tool_use" | "tool_result" as kind}:
            raise InvalidRequestError.about(
                param, f"is not a whole block of type {kind}: a member is missing or wrong"
            )
        case {"type": str(kind)}:
            raise InvalidRequestError.about(
                param, f"blocks of type {kind[:40]!r} are not supported here; leave it out"
            )
        case _:
            raise InvalidRequestError.about(param, 'must be {"type": …}')


def _decode_result(id: str, content: Any, param: str) -> Iterator[Part]:
    """Give the text that a tool answered, and then its images: a result holds only text here."""
    if content is None or isinstance(content, str):
        yield ToolResultPart(id, content or "")
        return
    parts = list(_decode_blocks(content, param))
    for part in parts:
        if not isinstance(part, TextPart | ImagePart):
            raise InvalidRequestError.about(param, "must hold only text and images")
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    yield ToolResultPart(id, "\n".join(texts))
    yield from (part for part in parts if isinstance(part, ImagePart))


def _decode_image(source: dict[str, Any], param: str) -> ImagePart:
    match source:
        case {"type": "base64", "media_type": str(kind), "data": str(data)}:
            return ImagePart(f"data:{kind};base64,{data}")
        case {"type": "url", "url": str(url)}:
            return ImagePart(url)
    raise InvalidRequestError.about(
        param, "must be of type base64 with media_type and data, or of type url with url"
    )


def _decode_tools(tools: list[Raw] | None) -> tuple[Tool, ...]:
    decoded = []
    for n, raw in enumerate(tools or ()):
        param = f"tools[{n}]"
        match decode_member(raw, param):
            case {"type": str(kind)} if kind != "custom":
                raise InvalidRequestError.about(
                    param, f"tools of type {kind[:40]!r} run at Anthropic only; leave it out"
                )
            case {"name": str(name), "input_schema": dict(schema), **tool} if name:
                described = tool.get("description")
                text = described if isinstance(described, str) else ""
                decoded.append(Tool(name, text, encode_body(schema).decode()))
            case _:
                raise InvalidRequestError.about(
                    param, 'must be {"name": …, "input_schema": {…}}, with a JSON Schema'
                )
    return tuple(decoded)


def _decode_choice(raw: Raw | UnsetType, tools: tuple[Tool, ...]) -> tuple[str, bool | None]:
    """Return the choice, and `False` if only one tool may be called at a time."""
    chosen = None if raw is UNSET else decode_member(raw, "tool_choice")
    if chosen is None:
        return "auto", None
    if isinstance(chosen, dict):
        parallel = False if chosen.get("disable_parallel_tool_use") is True else None
        match chosen:
            case {"type": "auto" | "none" as kind}:
                return kind, parallel
            case {"type": "any"}:
                return "required", parallel
            case {"type": "tool", "name": str(name)} if name in {tool.name for tool in tools}:
                return name, parallel
    raise InvalidRequestError.about(
        "tool_choice", "must be of type auto, any, none, or tool with the name of one of the tools"
    )


def _decode_format(raw: Raw | UnsetType) -> ResponseFormat | None:
    config = None if raw is UNSET else decode_member(raw, "output_config")
    match config.get("format") if isinstance(config, dict) else None:
        case None:
            return None
        case {"type": "json_schema", "schema": dict(schema)}:
            return ResponseFormat(encode_body(schema).decode())
    raise InvalidRequestError.about(
        "output_config.format", "must be of type json_schema, with a schema"
    )
