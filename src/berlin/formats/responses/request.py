"""Decodes requests of this API: parsed first, and built into a call once the history is loaded.

A request may refer to stored answers: `previous_response_id` and `item_reference`. So it is decoded
in two steps; between them the gateway looks up what is missing.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from berlin.errors import InvalidRequestError
from berlin.formats.client_request import (
    MAX_MESSAGES,
    check_count,
    check_model,
    check_numbers,
    decode_member,
    decode_typed,
    read_format,
)
from berlin.formats.contract import ClientCall
from berlin.formats.responses.items import Item, decode_items
from berlin.formats.responses.table import (
    CONSUMED,
    DIALECT,
    TRANSLATED,
    check_refused,
    has_effect,
)
from berlin.formats.responses.tools import decode_choice, decode_tools
from berlin.types import ChatRequest, Extra, Message, Reasoning, ResponseFormat, TextPart


class _Body(msgspec.Struct):
    """The members known to both this API and the hub. Others are kept unchanged."""

    input: str | list[Raw] | None = None
    model: str | UnsetType = UNSET
    stream: bool | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    background: bool | None = None
    tools: list[Raw] | None = None
    tool_choice: Raw | UnsetType = UNSET
    parallel_tool_calls: bool | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    max_output_tokens: int | None = None
    temperature: int | float | None = None
    top_p: int | float | None = None
    presence_penalty: int | float | None = None
    frequency_penalty: int | float | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    prompt_cache_key: str | None = None
    client_metadata: dict[str, Any] | None = None


_DECODER = msgspec.json.Decoder(_Body)
_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_OPTIONS = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "user")


class Sent(msgspec.Struct, frozen=True):
    """A parsed request.

    Attributes:
        body: its typed members.
        items: its own input, as items; each has an id, except references.
        members: members passed on unchanged to a service of this dialect.
        echo: the members repeated in the answer.
    """

    body: _Body
    items: tuple[Item, ...]
    members: Mapping[str, Any]
    echo: Mapping[str, Any]

    @property
    def previous(self) -> str:
        """The id of the answer that this request continues; `""` if there is none."""
        return self.body.previous_response_id or ""

    @property
    def references(self) -> tuple[str, ...]:
        """The ids of stored items that the input refers to."""
        return tuple(item["id"] for item in self.items if item["type"] == "item_reference")


class ResponsesCall(ClientCall, frozen=True):
    """A call of this API.

    Attributes:
        echo: the members of the request repeated in the answer.
        items: the request's own input, to be stored with the answer.
        store: whether the answer is stored.
    """

    echo: Mapping[str, Any] = {}
    items: tuple[Item, ...] = ()
    store: bool = False


def read_request(body: bytes) -> Sent:
    """Return a parsed request.

    Raises:
        InvalidRequestError: if a member is missing, invalid or unsupported.
    """
    sent = decode_typed(body, _DECODER)
    members = {
        name: decode_member(raw, name)
        for name, raw in _MEMBERS.decode(body).items()
        if name not in TRANSLATED
    }
    check_refused(members)
    kept = {k: v for k, v in members.items() if k not in CONSUMED and has_effect(k, v)}
    return Sent(sent, _read_input(sent), kept, _echo(sent, members))


def build_call(
    sent: Sent, history: Sequence[Item] = (), referenced: Mapping[str, Item] | None = None
) -> ResponsesCall:
    """Build the call of a request.

    Args:
        history: the items of the answers that it continues, oldest first.
        referenced: the stored items that its input refers to, by their ids.

    Raises:
        InvalidRequestError: if an item has an unknown form, or a reference is dangling.
    """
    body, found = sent.body, referenced or {}
    own = [(f"input[{n}]", _follow(item, found)) for n, item in enumerate(sent.items)]
    messages = decode_items([*(("previous_response_id", item) for item in history), *own])
    if not messages:
        raise InvalidRequestError.about("input", "is empty: give text or at least one item")
    tools = decode_tools([*(body.tools or ()), *_more_tools(sent.items)])
    choice = decode_member(body.tool_choice, "tool_choice")
    chosen, tools = decode_choice(choice, tools)
    options: dict[str, Any] = {name: getattr(body, name) for name in _OPTIONS}
    options["max_tokens"] = check_count("max_output_tokens", body.max_output_tokens)
    if body.text is not None:
        options["verbosity"] = body.text.get("verbosity")
    request = ChatRequest(
        (*_instructions(body.instructions), *messages),
        check_model(body.model),
        check_numbers(options),
        tools,
        chosen,
        body.parallel_tool_calls,
        _read_format(body.text),
        _read_reasoning(body.reasoning),
        session_id=_session_id(body),
        stream=bool(body.stream),
        extra=Extra(DIALECT, sent.members),
    )
    store = body.store is not False
    own_items = tuple(_with_id(item) for _, item in own) if store else ()
    return ResponsesCall(request, bool(body.stream), True, sent.echo, own_items, store)


def new_id(kind: str) -> str:
    """Return a new id: `resp_…`, `msg_…`, `rs_…`, `fc_…`."""
    return f"{kind}_{secrets.token_hex(16)}"


def _read_input(sent: _Body) -> tuple[Item, ...]:
    if isinstance(sent.input, str):
        content = [{"type": "input_text", "text": sent.input}]
        return ({"type": "message", "role": "user", "content": content},)
    items = sent.input or ()
    if len(items) > MAX_MESSAGES:
        raise InvalidRequestError.about("input", f"more than {MAX_MESSAGES} items")
    return tuple(_read_item(decode_member(raw, f"input[{n}]"), n) for n, raw in enumerate(items))


def _read_item(item: Any, n: int) -> Item:
    if not isinstance(item, dict):
        raise InvalidRequestError.about(f"input[{n}]", "must be an object, an item")
    kind = item.get("type") or ("message" if "role" in item else "item_reference")
    if kind == "item_reference" and not isinstance(item.get("id"), str):
        raise InvalidRequestError.about(f"input[{n}]", "must have a type, or a role and content")
    if not isinstance(kind, str):
        raise InvalidRequestError.about(f"input[{n}].type", "must be text")
    return {**item, "type": kind}


_ID_KINDS = {"message": "msg", "function_call": "fc", "custom_tool_call": "ctc", "reasoning": "rs"}


def _with_id(item: Item) -> Item:
    if isinstance(item.get("id"), str) and item["id"]:
        return item
    return {**item, "id": new_id(_ID_KINDS.get(item["type"], "item"))}


def _follow(item: Item, found: Mapping[str, Item]) -> Item:
    if item["type"] != "item_reference":
        return item
    if item["id"] not in found:
        raise InvalidRequestError.about(
            "input", f"there is no stored item {item['id'][:80]!r}; send the item itself"
        )
    return found[item["id"]]


def _more_tools(items: Sequence[Item]) -> list[Raw]:
    return [
        Raw(msgspec.json.encode(tool))
        for item in items
        if item["type"] == "additional_tools" and isinstance(item.get("tools"), list)
        for tool in item["tools"]
    ]


def _instructions(text: str | None) -> tuple[Message, ...]:
    if not text:
        return ()
    return (Message("system", (TextPart(text),), Extra(DIALECT, {"instructions": True})),)


def _read_format(text: Mapping[str, Any] | None) -> ResponseFormat | None:
    match (text or {}).get("format"):
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return ResponseFormat()
        case {"type": "json_schema", "schema": dict()} as fields:
            return read_format(fields)
    raise InvalidRequestError.about(
        "text.format", "must be of type text, json_object or json_schema with a schema"
    )


def _read_reasoning(reasoning: Mapping[str, Any] | None) -> Reasoning | None:
    if not reasoning:
        return None
    effort = reasoning.get("effort")
    if effort is not None and not isinstance(effort, str):
        raise InvalidRequestError.about("reasoning.effort", "must be text, such as low or high")
    rest = {k: v for k, v in reasoning.items() if k != "effort" and v is not None}
    if not effort and not rest:
        return None
    return Reasoning(effort or "", extra=Extra(DIALECT, rest) if rest else None)


def _session_id(body: _Body) -> str:
    """Return the client's own id of its session: Codex sends it twice."""
    named = (body.client_metadata or {}).get("session_id")
    return named if isinstance(named, str) and named else body.prompt_cache_key or ""


def _echo(sent: _Body, members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members repeated in the answer; absent ones have their defaults."""
    choice = decode_member(sent.tool_choice, "tool_choice")
    text = dict(sent.text or {})
    reasoning = dict(sent.reasoning or {})
    return {
        "background": False,
        "frequency_penalty": sent.frequency_penalty or 0.0,
        "instructions": sent.instructions,
        "max_output_tokens": sent.max_output_tokens,
        "max_tool_calls": members.get("max_tool_calls"),
        "metadata": sent.metadata or {},
        "parallel_tool_calls": sent.parallel_tool_calls is not False,
        "presence_penalty": sent.presence_penalty or 0.0,
        "previous_response_id": sent.previous_response_id,
        "prompt_cache_key": sent.prompt_cache_key,
        "reasoning": {"effort": None, "summary": None, **reasoning},
        "safety_identifier": members.get("safety_identifier"),
        "service_tier": members.get("service_tier") or "default",
        "store": sent.store is not False,
        "temperature": 1.0 if sent.temperature is None else sent.temperature,
        "text": {**text, "format": text.get("format") or {"type": "text"}},
        "tool_choice": choice if choice is not None else "auto",
        "tools": [_echo_tool(decode_member(raw, "tools")) for raw in sent.tools or ()],
        "top_logprobs": members.get("top_logprobs") or 0,
        "top_p": 1.0 if sent.top_p is None else sent.top_p,
        "truncation": members.get("truncation") or "disabled",
        "user": sent.user,
    }


def _echo_tool(tool: Any) -> Any:
    if isinstance(tool, dict) and tool.get("type") == "function":
        return {"description": None, "parameters": None, "strict": None, **tool}
    return tool
