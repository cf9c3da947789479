"""Decodes clients' requests of every face; errors name the invalid member."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from berlin.errors import InvalidRequestError
from berlin.formats.loose import as_text
from berlin.types import MaybeExtra, ResponseFormat, Tool
from berlin.wire.json import DECODE_ERRORS, check_size, encode_body

MAX_MESSAGES = 20_000
MAX_TOOLS = 5_000
MAX_COUNT = 2**31 - 1
MAX_NAME_CHARS = 512

_T = TypeVar("_T")


def decode_typed(body: bytes, decoder: msgspec.json.Decoder[_T]) -> _T:
    """Return the body of a client's request.

    Raises:
        InvalidRequestError: if it is not JSON, or a member is missing or has a wrong type.
    """
    # Checked before anything is built: decoding blocks everything else.
    check_size(body)
    if body.count(b'"role"') > MAX_MESSAGES:
        raise InvalidRequestError.about("messages", f"more than {MAX_MESSAGES} messages")
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _about(error) from error
    except DECODE_ERRORS as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidRequestError(f"the body is not JSON: {why}") from error


def decode_member(raw: Raw | UnsetType, param: str) -> Any:
    """Decode a member that was kept raw; an absent one is `None`. Raises InvalidRequestError."""
    if raw is UNSET:
        return None
    try:
        return msgspec.json.decode(raw)
    except DECODE_ERRORS as error:
        raise InvalidRequestError.about(param, "nested too deep, or not JSON") from error


def decode_rest(body: bytes, known: frozenset[str]) -> dict[str, Any]:
    """Return the unknown members of a body; `null` counts as absent. Raises InvalidRequestError."""
    rest = {}
    for name, raw in _MEMBERS.decode(body).items():
        if name not in known and (value := decode_member(raw, name)) is not None:
            rest[name] = value
    return rest


_MEMBERS = msgspec.json.Decoder(dict[str, Raw])


def decode_messages(messages: list[Raw]) -> list[Any]:
    """Decode messages one by one, so that other threads get their turn in between.

    Raises:
        InvalidRequestError: if one is not JSON, or there are too many, in whatever form.
    """
    if len(messages) > MAX_MESSAGES:
        raise InvalidRequestError.about("messages", f"more than {MAX_MESSAGES} messages")
    return [decode_member(raw, f"messages[{n}]") for n, raw in enumerate(messages)]


def decode_tool_members(tools: Iterable[Raw] | None) -> Iterator[tuple[Any, str]]:
    """Yield each tool with the name of its member. Raises InvalidRequestError."""
    for n, raw in enumerate(tools or ()):
        if n >= MAX_TOOLS:
            raise InvalidRequestError.about("tools", f"more than {MAX_TOOLS} tools")
        yield decode_member(raw, f"tools[{n}]"), f"tools[{n}]"


def make_tool(name: str, fields: Mapping[Any, Any], schema: str, extra: MaybeExtra) -> Tool:
    """Return a tool with this JSON Schema; its description and strictness are among the fields."""
    strict = fields.get("strict")
    strict = strict if isinstance(strict, bool) else None
    return Tool(name, as_text(fields.get("description")), schema, strict, extra=extra)


def check_model(model: str | UnsetType) -> str:
    """Return the name of a model, `""` if absent. Raises InvalidRequestError if it is invalid."""
    model = "" if model is UNSET else model.strip()
    if len(model) > MAX_NAME_CHARS or not model.isprintable():
        raise InvalidRequestError.about(
            "model", f"must be at most {MAX_NAME_CHARS} printable characters"
        )
    return model


def check_count(param: str, value: int | None) -> int | None:
    """Return a count of tokens. Raises InvalidRequestError if it is invalid."""
    if value is not None and not 1 <= value <= MAX_COUNT:
        raise InvalidRequestError.about(param, f"must be from 1 to {MAX_COUNT}, not {value}")
    return value


def check_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given options. Raises InvalidRequestError for infinite ones."""
    for param, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidRequestError.about(param, "must be a finite number")
    return {name: value for name, value in values.items() if value is not None}


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of which only the common ones are known. Raises InvalidRequestError."""
    for param in ("max_tokens", "max_completion_tokens"):
        value = options.get(param)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise InvalidRequestError.about(param, "must be a whole number")
        check_count(param, value)
    return dict(options)


def read_format(fields: Mapping[str, Any], extra: MaybeExtra = None) -> ResponseFormat:
    """Return the format of the answer that these members of OpenAI's APIs describe."""
    strict = fields.get("strict")
    return ResponseFormat(
        encode_body(fields["schema"]).decode(),
        as_text(fields.get("name")),
        strict if isinstance(strict, bool) else None,
        as_text(fields.get("description")),
        extra,
    )


def _about(error: msgspec.ValidationError) -> InvalidRequestError:
    said = str(error)
    where = re.search(r" - at `\$\.?([^`]*)`", said)
    missing = re.search(r"missing required field `([^`]*)`", said)
    param = (where[1] if where else "") or (missing[1] if missing else "")
    if not param:
        return InvalidRequestError(f"the body must be a JSON object: {said}")
    return InvalidRequestError.about(param, re.sub(r" - at `.*`", "", said))
