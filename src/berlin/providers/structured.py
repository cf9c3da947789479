"""Structured output: the requested schema, and the parsed value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from berlin.errors import InvalidRequestError, ProtocolError
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
    # Pydantic's error is a ValueError, as msgspec's are; its text may quote the answer.
    except (ValueError, RecursionError) as error:
        cut = answer.finish_reason == "length"
        why = "it was cut off at max_tokens" if cut else str(error).split("\n", 1)[0]
        raise ProtocolError(f"the answer does not match response_format: {why}") from error
    return msgspec.structs.replace(answer, parsed=value)


def _schema(wanted: Any) -> Any:
    if _is_pydantic(wanted):
        return wanted.model_json_schema()
    try:
        (schema,), components = msgspec.json.schema_components(
            [wanted], ref_template="#/$defs/{name}"
        )
    except TypeError as error:
        raise InvalidRequestError.about(
            "response_format",
            f"{wanted!r} has no JSON Schema; give a dataclass, a msgspec Struct, a pydantic model "
            "or a dictionary with a JSON Schema",
        ) from error
    definitions = {name: _closed(part) for name, part in components.items()}
    # Services require an object at the top level, not a reference to one.
    root = schema.get("$ref", "").removeprefix("#/$defs/")
    if root and not _refers_to(definitions, root):
        schema = definitions.pop(root)
    return {**schema, "$defs": definitions} if definitions else schema


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with no additional members, as services require."""
    return {**schema, "additionalProperties": False} if "properties" in schema else schema


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
