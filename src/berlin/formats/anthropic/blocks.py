"""Reads the blocks of content that clients of Anthropic's messages send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from berlin.errors import InvalidRequestError
from berlin.formats.anthropic.table import DIALECT
from berlin.formats.loose import as_object, as_text, others
from berlin.formats.opaque import Opaque, unseal
from berlin.types import (
    Extra,
    FilePart,
    ImagePart,
    OpaquePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    make_extra,
)
from berlin.wire.data_urls import make_data_url
from berlin.wire.json import encode_body


def decode_blocks(content: Any, param: str) -> Iterator[Part]:
    """Yield the parts in a list of blocks.

    Raises:
        InvalidRequestError: if it is not a list, or a known block is incomplete.
    """
    if not isinstance(content, list):
        raise InvalidRequestError.about(param, "must be text or a list of blocks")
    sealed = [_unseal(block) for block in content]
    states = {id: extra for one in sealed if one is not None for id, extra in one.calls.items()}
    for n, (block, opaque) in enumerate(zip(content, sealed, strict=True)):
        if opaque is not None:
            yield from _decode_sealed(block, opaque)
            continue
        part = _decode_block(block, f"{param}[{n}]")
        if isinstance(part, ToolCallPart) and part.id in states:
            part = msgspec.structs.replace(part, extra=states[part.id])
        yield part


def _unseal(block: Any) -> Opaque | None:
    """Return the state of another dialect's service that a block carries, if it does."""
    match block:
        case {"type": "thinking", "signature": envelope}:
            return unseal(envelope)
        case {"type": "redacted_thinking", "data": envelope}:
            return unseal(envelope)
    return None


def _decode_sealed(block: Mapping[str, Any], opaque: Opaque) -> Iterator[Part]:
    text = as_text(block.get("thinking"))
    if text or opaque.reasoning is not None:
        yield ReasoningPart(text, opaque.reasoning)
    yield from opaque.parts


def _decode_block(block: Any, param: str) -> Part:
    match block:
        case {"type": "text", "text": str(text), **rest}:
            return TextPart(text, _rest(rest))
        case {"type": "image", "source": dict(source), **rest}:
            return _decode_image(source, rest, f"{param}.source")
        case {"type": "document", "source": dict(source)}:
            return _decode_document(block, source)
        case {"type": "tool_use", "id": str(id), "name": str(name), **rest}:
            given = rest.pop("input", None)
            if given is None or isinstance(given, dict):
                return ToolCallPart(id, name, encode_body(given or {}).decode(), _rest(rest))
        case {"type": "tool_result", "tool_use_id": str(id)}:
            return _decode_result(id, block, f"{param}.content")
        case {"type": "thinking", "thinking": str(text), **rest}:
            return ReasoningPart(text, _rest(rest))
        case {"type": str(kind)} if kind not in _WHOLE:
            return OpaquePart(Extra(DIALECT, block), _text_of(kind, block))
    match block:
        case {"type": str(kind)}:
            raise InvalidRequestError.about(
                param, f"is not a whole block of type {kind}: a member is missing or wrong"
            )
    raise InvalidRequestError.about(param, 'must be {"type": …}')


_WHOLE = frozenset({"text", "image", "document", "tool_use", "tool_result", "thinking"})


def _rest(members: Mapping[Any, Any]) -> Extra | None:
    return make_extra(DIALECT, others(members, ("type",)))


def _decode_image(source: dict[str, Any], rest: Mapping[Any, Any], param: str) -> ImagePart:
    match source:
        case {"type": "base64", "media_type": str(kind), "data": str(data)}:
            return ImagePart(make_data_url(kind, data), _rest(rest))
        case {"type": "url", "url": str(url)}:
            return ImagePart(url, _rest(rest))
        case {"type": "file", "file_id": str()}:
            return ImagePart("", _rest({**rest, "source": source}))
    raise InvalidRequestError.about(
        param, "must be of type base64 with media_type and data, or of type url with url"
    )


def _decode_document(block: Mapping[str, Any], source: Mapping[str, Any]) -> Part:
    name = as_text(block.get("title"))
    extra = _rest(block)
    match source:
        case {"type": "base64", "media_type": str(kind), "data": str(data)}:
            return FilePart(make_data_url(kind, data), name, extra=extra)
        case {"type": "url", "url": str(url)}:
            return FilePart(url, name, extra=extra)
        case {"type": "file", "file_id": str(id)}:
            return FilePart("", name, id, extra)
        case {"type": "text", "data": str(text)}:
            return OpaquePart(Extra(DIALECT, block), f"{name}\n\n{text}" if name else text)
        case {"type": "content", "content": content}:
            return OpaquePart(Extra(DIALECT, block), _join(name, content))
    return OpaquePart(Extra(DIALECT, block))


def _decode_result(id: str, block: Mapping[str, Any], param: str) -> ToolResultPart:
    content = block.get("content")
    rest = others(block, _RESULT)
    is_error = block.get("is_error") is True
    if content is None or isinstance(content, str):
        if content is None:
            rest["content"] = "absent"
        return ToolResultPart(id, content or "", is_error, extra=make_extra(DIALECT, rest))
    parts = tuple(decode_blocks(content, param))
    kept = tuple(p for p in parts if isinstance(p, TextPart | ImagePart | FilePart | OpaquePart))
    if len(kept) != len(parts):
        raise InvalidRequestError.about(param, "must contain only text, images and documents")
    texts = [part.text for part in kept if isinstance(part, TextPart | OpaquePart) and part.text]
    return ToolResultPart(id, "\n".join(texts), is_error, kept, make_extra(DIALECT, rest))


_RESULT = frozenset({"type", "tool_use_id", "content", "is_error"})


def _text_of(kind: str, block: Mapping[str, Any]) -> str:
    """Return the text that replaces a block specific to this dialect in other dialects."""
    match kind:
        case "tool_reference":
            return f"[tool: {as_text(block.get('tool_name'))}]"
        case "search_result":
            head = f"{as_text(block.get('title'))} ({as_text(block.get('source'))})"
            return _join(head, block.get("content"))
        case "redacted_thinking" | "container_upload" | "compaction":
            return as_text(block.get("content"))
        case "server_tool_use" | "mcp_tool_use":
            given = encode_body(as_object(block.get("input"))).decode()
            return f"[{as_text(block.get('name'))} was called with {given}]"
        case _ if kind.endswith("_tool_result"):
            shown = encode_body({"content": _without_secrets(block.get("content"))}).decode()
            return f"[{kind.removesuffix('_tool_result')} answered {shown}]"
    return ""


def _without_secrets(value: Any) -> Any:
    """Return a result without what only its service can read."""
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if isinstance(value, dict):
        return {n: _without_secrets(v) for n, v in value.items() if not n.startswith("encrypted")}
    return value


def _join(head: str, content: Any) -> str:
    items = content if isinstance(content, list) else [content]
    texts = [as_text(item) or as_text(as_object(item).get("text")) for item in items]
    return "\n\n".join(text for text in (head, *texts) if text)
