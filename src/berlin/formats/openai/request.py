"""Reads what clients of OpenAI's chat completions send."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
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
    decode_rest,
    decode_typed,
    read_format,
)
from berlin.formats.contract import ClientCall
from berlin.formats.function_tools import decode_tools
from berlin.formats.loose import as_count, as_text
from berlin.formats.openai.functions import tools_of
from berlin.formats.openai.messages import parse_messages
from berlin.formats.openai.table import DIALECT
from berlin.types import ChatRequest, Extra, Reasoning, ResponseFormat, Tool, make_extra
from berlin.wire.json import encode_body


class _Options(msgspec.Struct):
    temperature: int | float | None = None
    top_p: int | float | None = None
    top_k: int | None = None
    min_p: int | float | None = None
    presence_penalty: int | float | None = None
    frequency_penalty: int | float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    logit_bias: dict[str, int | float] | None = None
    verbosity: str | None = None
    user: str | None = None


class _Body(_Options, kw_only=True):
    """A request. Unlisted members travel beside it."""

    messages: list[Raw]
    model: str | UnsetType = UNSET
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    reasoning_effort: str | None = None
    parallel_tool_calls: bool | None = None
    tools: list[Raw] | None = None
    tool_choice: Raw | UnsetType = UNSET
    response_format: Raw | UnsetType = UNSET


_OPTIONS = _Options.__struct_fields__
_options_of = attrgetter(*_OPTIONS)
_DECODER = msgspec.json.Decoder(_Body)
_KNOWN = frozenset(_Body.__struct_fields__)


def decode_request(body: bytes) -> ClientCall:
    """Decode a client's request. Raises InvalidRequestError."""
    sent = decode_typed(body, _DECODER)
    if sent.n not in (None, 1):
        raise InvalidRequestError.about("n", "only one answer at a time; leave it out, or 1")
    rest = decode_rest(body, _KNOWN)
    choice = decode_member(sent.tool_choice, "tool_choice")
    if "functions" in rest and not sent.tools and (older := tools_of(rest["functions"])):
        del rest["functions"]
        sent.tools = [Raw(encode_body(tool)) for tool in older]
        choice = rest.pop("function_call", None)
    tools = decode_tools(sent.tools, DIALECT) if sent.tools else ()
    given = zip(_OPTIONS, _options_of(sent), strict=True)
    options = {name: value for name, value in given if value is not None}
    for name in ("max_completion_tokens", "max_tokens"):
        if (limit := check_count(name, getattr(sent, name))) is not None:
            options.setdefault("max_tokens", limit)
    usage = sent.stream_options or {}
    if more := {name: value for name, value in usage.items() if name != "include_usage"}:
        rest["stream_options"] = more
    request = ChatRequest(
        parse_messages(decode_messages(sent.messages)),
        check_model(sent.model),
        check_numbers(options),
        tools,
        _decode_choice(choice, tools, rest),
        parallel_tool_calls=sent.parallel_tool_calls,
        response_format=_decode_format(sent.response_format, rest),
        reasoning=_decode_reasoning(sent.reasoning_effort, rest),
        stream=bool(sent.stream),
        extra=Extra(DIALECT, rest),
    )
    return ClientCall(request, bool(sent.stream), bool(usage.get("include_usage")))


def _decode_choice(choice: Any, tools: tuple[Tool, ...], rest: dict[str, Any]) -> str:
    if not tools:
        if choice in (None, "auto", "none"):
            return "auto"
        raise InvalidRequestError.about("tool_choice", "asks for a tool, but there are no tools")
    match choice:
        case None:
            return "auto"
        case "auto" | "none" | "required":
            return str(choice)
        case "any":
            return "required"
        case {"function": {"name": str(name)}} | {"name": str(name)}:
            if name in {tool.name for tool in tools if not tool.hosted}:
                return name
            raise InvalidRequestError.about("tool_choice", "names a tool that is not in tools")
        case {"type": str()}:
            # Allowed tools and custom tools are specific to this dialect.
            rest["tool_choice"] = choice
            return "auto"
    raise InvalidRequestError.about(
        "tool_choice", "must be auto, none, required or one function by its name"
    )


def _decode_format(raw: Raw | UnsetType, rest: dict[str, Any]) -> ResponseFormat | None:
    wanted = decode_member(raw, "response_format")
    match wanted:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return ResponseFormat()
        case {"type": "json_schema", "json_schema": {"schema": dict()} as fields}:
            known = ("schema", "name", "strict", "description")
            more = {n: v for n, v in fields.items() if n not in known}
            return read_format(fields, make_extra(DIALECT, more))
        case {"type": str(kind)} if kind != "json_schema":
            rest["response_format"] = wanted
            return None
    raise InvalidRequestError.about(
        "response_format", "must be of type text, json_object or json_schema with a schema"
    )


_REASONING = ("reasoning", "thinking")


def _decode_reasoning(effort: str | None, rest: dict[str, Any]) -> Reasoning | None:
    """Return how much to reason: by its usual name, or in the words of services that differ."""
    said: dict[str, Any] = {name: rest.pop(name) for name in _REASONING if name in rest}
    if not said:
        return Reasoning(effort) if effort else None
    budget, known = None, effort or ""
    for fields in said.values():
        if isinstance(fields, Mapping):
            known = known or as_text(fields.get("effort"))
            budget = as_count(fields.get("max_tokens", fields.get("budget_tokens")))
            if fields.get("type") == "disabled" or fields.get("enabled") is False:
                known = known or "none"
            elif fields.get("type") == "enabled" and budget is None:
                known = known or "medium"
    if effort:
        said["reasoning_effort"] = effort
    return Reasoning(known, budget, Extra(DIALECT, said))
