"""Writes requests in OpenAI's chat completions format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from berlin.errors import InvalidRequestError
from berlin.formats.dialect import fit_id
from berlin.formats.function_tools import encode_tools
from berlin.formats.openai.encoder import encode_call
from berlin.formats.openai.functions import MARK, is_older
from berlin.formats.openai.table import DIALECT, REASONING
from berlin.formats.reasoning import effort_of, reasoning_of
from berlin.formats.table import Carrier
from berlin.language.tables.chat import ChatMap
from berlin.types import (
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    ResponseFormat,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    extra_of,
)
from berlin.types.messages import separator_of
from berlin.wire.data_urls import parse_data_url
from berlin.wire.json import loads

# Members that the format itself sets.
RESERVED = frozenset({"messages", "model", "stream", "tools", "tool_choice", "response_format"})


def encode_asked(request: ChatRequest, carrier: Carrier) -> dict[str, Any]:
    """Return the settings of the answer: tools, response format, reasoning, and other members.

    Raises:
        InvalidRequestError: if a member cannot be expressed here and must not be left out.
    """
    document: dict[str, Any] = {}
    if is_older(request.tools):
        document["functions"] = [t["function"] for t in encode_tools(request.tools, carrier)]
        if request.tool_choice != "auto":
            named = {"name": request.tool_choice}
            document["function_call"] = "none" if request.tool_choice == "none" else named
    elif request.tools:
        document["tools"] = encode_tools(request.tools, carrier)
        if request.tool_choice != "auto":
            document["tool_choice"] = _encode_choice(request.tool_choice)
    if request.parallel_tool_calls is not None:
        document["parallel_tool_calls"] = request.parallel_tool_calls
    if request.response_format is not None:
        document["response_format"] = _encode_format(request.response_format, carrier)
    document |= _encode_reasoning(request, carrier)
    return {**document, **carrier.own(request.extra)}


def encode_messages(request: ChatRequest, chat: ChatMap, carrier: Carrier) -> list[dict[str, Any]]:
    """Return the messages. Raises InvalidRequestError for parts that cannot be expressed here."""
    is_own = request.extra is not None and request.extra.dialect == DIALECT
    writer = _Writer(chat, carrier, is_own=is_own)
    items = [item for message in request.messages for item in writer.encode(message)]
    return items if is_own else list(_results_after_calls(items))


def _results_after_calls(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield messages with the results of calls right after the calls, as this API requires.

    In other dialects, users may speak between them, and results show images, which only users can
    show here.
    """
    waiting: set[str] = set()
    held: list[dict[str, Any]] = []
    for item in items:
        if waiting and item["role"] not in ("assistant", "tool"):
            held.append(item)
            continue
        if item["role"] == "tool":
            yield item
            waiting.discard(item["tool_call_id"])
        if item["role"] != "tool" or not waiting:
            yield from held
            held = []
        if item["role"] != "tool":
            yield item
            waiting = {call["id"] for call in item.get("tool_calls", ())}
    yield from held


class _Writer:
    def __init__(self, chat: ChatMap, carrier: Carrier, *, is_own: bool) -> None:
        self._chat = chat
        # Whether results are split into what tools can show here, text, and what only users can.
        self._splits = chat.text_content or not is_own
        self._carrier = carrier

    def encode(self, message: Message) -> Iterator[dict[str, Any]]:
        """Yield the objects for a message: one, or one for each tool result in it."""
        extra = dict(self._carrier.own(message.extra, "messages."))
        as_parts = extra.pop("content", None) == "parts"
        results = [part for part in message.parts if isinstance(part, ToolResultPart)]
        if results:
            name = extra.pop(MARK, None)
            head = {} if name is None else {"role": "function", "name": name}
            for result in results:
                encoded = {**self._encode_result(result), **head, **extra}
                yield {n: v for n, v in encoded.items() if n != "tool_call_id" or not head}
            shown = [part for result in results for part in result.parts if _is_shown(part)]
            if shown and self._splits:
                content = [item for part in shown for item in self._encode_part(part)]
                yield {"role": "user", "content": content}
            return
        role = message.role if message.role != "developer" else self._chat.developer_role
        content = self._encode_content(message.role, message.parts, as_parts=as_parts)
        item: dict[str, Any] = {"role": role, "content": content}
        for part in message.parts:
            if isinstance(part, ReasoningPart):
                item |= self._encode_reasoning(part)
            elif isinstance(part, TextPart) and _is_refusal(part):
                item["refusal"] = part.text
        calls = [self._encode_call(p) for p in message.parts if isinstance(p, ToolCallPart)]
        if calls:
            item["content"] = item["content"] or None
            is_older = MARK in calls[0]
            item |= {"function_call": calls[0]["function"]} if is_older else {"tool_calls": calls}
        elif "refusal" in item or "audio" in extra:
            item["content"] = item["content"] or None
        yield {**item, **extra}

    def _encode_content(self, role: Role, parts: tuple[Part, ...], *, as_parts: bool) -> Any:
        said = [
            part
            for part in parts
            if not isinstance(part, ToolCallPart)
            and not (isinstance(part, TextPart) and _is_refusal(part))
            and not (isinstance(part, ReasoningPart) and not self._is_part(part))
        ]
        content = [item for part in said for item in self._encode_part(part)]
        if all(item.keys() == {"type", "text"} for item in content) and (
            not as_parts or self._chat.text_content
        ):
            return separator_of(role).join([item["text"] for item in content])
        return content

    def _encode_part(self, part: Part) -> Iterator[dict[str, Any]]:
        match part:
            case TextPart():
                extra = self._carrier.own(part.extra, "content.")
                if extra.get("type") == "refusal":
                    yield {"type": "refusal", "refusal": part.text}
                else:
                    yield {"type": "text", "text": part.text, **extra}
            case ReasoningPart():
                own = extra_of(part.extra, DIALECT)
                if "type" in own:
                    yield dict(own)
                elif part.text:
                    yield {"type": "thinking", "thinking": [{"type": "text", "text": part.text}]}
            case ImagePart():
                yield self._encode_image(part)
            case FilePart():
                yield self._encode_file(part)
            case OpaquePart():
                yield from self._carrier.opaque_items(part)

    def _encode_image(self, part: ImagePart) -> dict[str, Any]:
        extra = dict(self._carrier.own(part.extra, "content."))
        url = self._carrier.image_url(part)
        data = parse_data_url(url)
        if data is not None and not part.url.startswith(f"data:{data.media_type};base64,"):
            url = f"data:{data.media_type};base64,{data.base64}"
        image: dict[str, Any] = {"url": url, **extra.pop("image_url", {})}
        if "detail" in extra:
            image["detail"] = extra.pop("detail")
        return {"type": "image_url", "image_url": image, **extra}

    def _encode_file(self, part: FilePart) -> dict[str, Any]:
        extra = dict(self._carrier.own(part.extra, "content."))
        if "type" in extra:
            return extra
        data = parse_data_url(part.url)
        if data is None:
            raise InvalidRequestError.about(
                "content.document", "this service takes documents only as data: URLs in base64"
            )
        kind, _, subtype = data.media_type.partition("/")
        if kind == "audio":
            audio = {"data": data.base64, "format": {"mpeg": "mp3"}.get(subtype, subtype)}
            return {"type": "input_audio", "input_audio": audio, **extra}
        url = f"data:{data.media_type};base64,{data.base64}"
        file = {"filename": part.name or f"document.{subtype}", "file_data": url}
        return {"type": "file", "file": file, **extra}

    def _encode_reasoning(self, part: ReasoningPart) -> dict[str, Any]:
        if self._is_part(part):
            return {}  # it is in the content
        own = self._carrier.own(part.extra, "reasoning.")
        back = self._chat.reasoning_back
        if back == REASONING[0]:
            return {back: part.text}  # whoever reasoned: a call without it is refused
        if back != "any":
            kept: dict[str, Any] = {name: value for name, value in own.items() if name == back}
            if part.text and not kept:
                self._carrier.drop("messages.reasoning")
            return kept
        is_foreign = part.extra is not None and any(part.extra.members.values())
        if own or is_foreign or not part.text:
            # Signatures of other services are useless to this one.
            return dict(own)
        return {REASONING[0]: part.text}

    def _is_part(self, part: ReasoningPart) -> bool:
        """Whether reasoning is in the content, as with Mistral."""
        return self._chat.reasoning_back == "thinking" or (
            "type" in extra_of(part.extra, DIALECT) and self._chat.reasoning_back == "any"
        )

    def _encode_call(self, call: ToolCallPart) -> dict[str, Any]:
        self._carrier.own(call.extra, "tool_calls.")
        return {**encode_call(call), "id": fit_id(call.id, self._chat.tool_id_length)}

    def _encode_result(self, result: ToolResultPart) -> dict[str, Any]:
        extra = dict(self._carrier.own(result.extra, "tool_results."))
        content: Any = result.content
        parts = [part for part in result.parts if not (self._splits and _is_shown(part))]
        if parts and not self._chat.text_content:
            content = [item for part in parts for item in self._encode_part(part)]
            if self._splits and all(item.keys() == {"type", "text"} for item in content):
                content = result.content
        if result.is_error:
            # This dialect cannot mark it: without a note, the model would take it for a result.
            content = f"Error: {result.content}"
        if (marker := extra.pop("cache_control", None)) is not None:
            # It marks a part: messages have none.
            marked = content if isinstance(content, list) else [{"type": "text", "text": content}]
            content = [*marked[:-1], {**marked[-1], "cache_control": marker}]
        id = fit_id(result.id, self._chat.tool_id_length)
        return {"role": "tool", "tool_call_id": id, "content": content, **extra}


def _is_shown(part: Part) -> bool:
    """Whether only users can show a part in most services of this dialect."""
    return isinstance(part, ImagePart | FilePart)


def _is_refusal(part: TextPart) -> bool:
    return bool(extra_of(part.extra, DIALECT).get("refusal"))


def _encode_choice(choice: str) -> Any:
    if choice in ("auto", "none", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}


def _encode_format(wanted: ResponseFormat, carrier: Carrier) -> dict[str, Any]:
    parsed = loads(wanted.schema or '{"type":"object"}')
    if parsed == {"type": "object"}:
        return {"type": "json_object"}
    schema: dict[str, Any] = {"name": wanted.name or "answer"}
    if wanted.description:
        schema["description"] = wanted.description
    schema["schema"] = parsed
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    schema |= carrier.own(wanted.extra, "response_format.")
    return {"type": "json_schema", "json_schema": schema}


def _encode_reasoning(request: ChatRequest, carrier: Carrier) -> dict[str, Any]:
    reasoning = reasoning_of(request)
    if reasoning is None:
        return {}
    own = carrier.own(reasoning.extra)
    if own:
        return dict(own)
    effort = effort_of(reasoning)
    is_foreign = reasoning.extra is not None
    if effort == "none" and is_foreign:
        # If another dialect switches it off: most models of this one have it off anyway.
        return {}
    return {"reasoning_effort": effort} if effort else {}


def place_options(
    request: ChatRequest, rename: dict[str, str], document: dict[str, Any], carrier: Carrier
) -> None:
    """Add the options, under the service's names."""
    for name, value in request.options.items():
        if name == "reasoning_effort" and name not in rename:
            continue
        if not carrier.takes(name, value):
            continue
        document[rename.get(name, name)] = value
