"""Structured output: the requested schema, and the parsed value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from berlin.errors import ContentFilterError, InvalidRequestError, ProtocolError
from berlin.formats.openai.format import OpenAIChatFormat
from berlin.types import ChatResponse, ResponseFormat
from berlin.wire.json import encode_body

ResponseType: TypeAlias = type | Mapping[str, Any] | ResponseFormat
"""The values of `response_format=`: a msgspec Struct, a dataclass, a pydantic model, or anything
else that msgspec can describe; a JSON Schema; OpenAI's dictionary; or a `ResponseFormat`."""

_FENCED = re.compile(r"\s*```(?:json)?[ \t]*\n(.*?)\n?```\s*", re.DOTALL)


def describe_type(wanted: ResponseType) -> ResponseFormat:
    """Return the `ResponseFormat` for a type.

    Raises:
        InvalidRequestError: if the type has no JSON Schema.
    """
    match wanted:
        case ResponseFormat():
            return wanted
        case Mapping():
            return _read_dictionary(wanted)
    name = re.sub(r"[^A-Za-z0-9_-]", "_", getattr(wanted, "__name__", "answer"))[:64]
    return ResponseFormat(encode_body(_schema(wanted)).decode(), name)


def parse_answer(answer: ChatResponse, wanted: ResponseType) -> ChatResponse:
    """Return the answer with `parsed`; an answer that only calls tools has none.

    Raises:
        ContentFilterError: if the service refused to answer.
        ProtocolError: if the text does not match the schema.
    """
    if answer.tool_calls and not answer.text.strip():
        return answer
    fenced = _FENCED.fullmatch(answer.text)
    text = fenced[1] if fenced is not None else answer.text
    try:
        if isinstance(wanted, Mapping | ResponseFormat):
            value = msgspec.json.decode(text)
        elif _is_pydantic(wanted):
            value = wanted.model_validate_json(text)  # type: ignore[attr-defined]  # just checked
        else:
            value = msgspec.json.decode(text, type=wanted)
    except (ValueError, RecursionError) as error:  # pydantic's is a ValueError, as msgspec's are
        if answer.finish_reason == "content_filter":
            raise ContentFilterError(
                "the service refused to answer, so there is no value for response_format"
            ) from error
        cut = answer.finish_reason == "length"
        why = "it was cut off at max_tokens" if cut else _reason(error)
        raise ProtocolError(f"the answer does not match response_format: {why}") from error
    return msgspec.structs.replace(answer, parsed=value)


def _reason(error: Exception) -> str:
    """Return what is wrong and where; without the answer, which pydantic's text quotes."""
    if not hasattr(error, "errors"):
        return str(error)
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def _schema(wanted: Any) -> Any:
    if _is_pydantic(wanted):
        whole = wanted.model_json_schema()
        schema, definitions = whole, whole.pop("$defs", {})
    else:
        try:
            (schema,), definitions = msgspec.json.schema_components(
                [wanted], ref_template="#/$defs/{name}"
            )
        except TypeError as error:
            raise InvalidRequestError.about(
                "response_format",
                f"{wanted!r} has no JSON Schema; give a dataclass, a msgspec Struct, a pydantic "
                "model or a dictionary with a JSON Schema",
            ) from error
    # Services require an object at the top level, not a reference to one.
    root = schema.get("$ref", "").removeprefix("#/$defs/")
    if root:
        schema = definitions[root]
        if not _refers_to(definitions, root):
            del definitions[root]
    return _closed({**schema, "$defs": definitions} if definitions else schema)


def _closed(tree: Any) -> Any:
    """Return a schema whose objects have no additional members, as services require."""
    if isinstance(tree, list):
        return [_closed(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    closed = {name: _closed(value) for name, value in tree.items()}
    if isinstance(tree.get("properties"), dict) and tree.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def _refers_to(tree: Any, name: str) -> bool:
    return f'"#/$defs/{name}"'.encode() in msgspec.json.encode(tree)


def _is_pydantic(wanted: Any) -> bool:
    return hasattr(wanted, "model_json_schema") and hasattr(wanted, "model_validate_json")


def _read_dictionary(wanted: Mapping[str, Any]) -> ResponseFormat:
    if wanted.get("type") not in ("json_schema", "json_object", "text"):
        title = wanted.get("title")
        name = title if isinstance(title, str) and re.fullmatch(r"[\w-]{1,64}", title) else ""
        return ResponseFormat(encode_body(dict(wanted)).decode(), name)
    body = {"messages": [{"role": "user", "content": ""}], "response_format": dict(wanted)}
    read = OpenAIChatFormat().decode_request(encode_body(body)).request.response_format
    if read is None:
        raise InvalidRequestError.about("response_format", "asks for text: leave it out")
    return read
