"""Writes docs/dialects.md, what happens to each member between any two dialects: `make reference`.

The matrix is computed: each cell is what the formats really do with an example.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from berlin.errors import InvalidRequestError
from berlin.formats.anthropic.format import AnthropicMessagesFormat
from berlin.formats.contract import Format
from berlin.formats.ollama.format import OllamaChatFormat
from berlin.formats.openai.format import OpenAIChatFormat
from berlin.formats.responses.format import ResponsesFormat
from berlin.formats.table import table_of
from berlin.types import HttpRequest

FORMATS: Mapping[str, Format] = {
    "openai": OpenAIChatFormat("m"),
    "anthropic": AnthropicMessagesFormat("m"),
    "ollama": OllamaChatFormat("m"),
    "responses": ResponsesFormat("m"),
}
TITLES = {
    "openai": "Chat Completions",
    "anthropic": "Anthropic",
    "ollama": "Ollama",
    "responses": "Responses",
}

_ASK = {"messages": [{"role": "user", "content": "Hi"}]}
_PARAMETERS = {"type": "object", "properties": {"x": {"type": "number"}}}
_FUNCTION = {"type": "function", "function": {"name": "f", "parameters": _PARAMETERS}}
_TOOL = {"name": "f", "input_schema": _PARAMETERS}
_PNG = "iVBORw0KGgo="
_PDF = "JVBERi0="


def _user(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def _turn(*turn: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Hi"}, *turn], **more}


def _calls(*names: str) -> list[dict[str, Any]]:
    return [
        {"id": f"c{n}", "type": "function", "function": {"name": name, "arguments": "{}"}}
        for n, name in enumerate(names)
    ]


def _uses(*names: str) -> list[dict[str, Any]]:
    return [
        {"type": "tool_use", "id": f"c{n}", "name": name, "input": {}}
        for n, name in enumerate(names)
    ]


def _result(n: int, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": f"c{n}", "content": "1", **more}


def _results_by_name(*names: str) -> list[dict[str, Any]]:
    calls = [{"function": {"name": name, "arguments": {}}} for name in names]
    answers = [{"role": "tool", "content": "1", "tool_name": name} for name in names]
    return [{"role": "assistant", "content": "", "tool_calls": calls}, *answers]


def _answered(*names: str) -> list[dict[str, Any]]:
    answers = [
        {"role": "tool", "tool_call_id": f"c{n}", "content": "1"} for n, _ in enumerate(names)
    ]
    return [{"role": "assistant", "content": None, "tool_calls": _calls(*names)}, *answers]


def _used(*names: str, **more: Any) -> list[dict[str, Any]]:
    results = [_result(n, **more) for n, _ in enumerate(names)]
    return [{"role": "assistant", "content": _uses(*names)}, {"role": "user", "content": results}]


def _items(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": "Hi"}, *items], **more}


def _done(*names: str) -> list[dict[str, Any]]:
    calls = [
        {"type": "function_call", "call_id": f"c{n}", "name": name, "arguments": "{}"}
        for n, name in enumerate(names)
    ]
    outputs = [
        {"type": "function_call_output", "call_id": f"c{n}", "output": "1"}
        for n, _ in enumerate(names)
    ]
    return [*calls, *outputs]


def _input(*parts: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": list(parts)}]}


_SAY = {"input": "Hi"}
_FLAT = {"type": "function", "name": "f", "parameters": _PARAMETERS}
_SCHEMA = {"name": "a", "strict": True, "schema": _PARAMETERS}
_PDF_BLOCK = {
    "type": "document",
    "source": {"type": "base64", "media_type": "application/pdf", "data": _PDF},
}
_SIGNED = {"type": "thinking", "thinking": "hm", "signature": "s"}
_SEARCH = {"type": "web_search_20250305", "name": "web_search"}
_CACHED = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
_FILE = {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{_PDF}"}
_SIGNATURE = {"extra_content": {"google": {"thought_signature": "s"}}}

EXAMPLES: Mapping[str, Mapping[str, dict[str, Any]]] = {
    "text": {
        "openai": _ASK,
        "anthropic": _ASK,
        "ollama": _ASK,
        "responses": _SAY,
    },
    "tools": {
        "openai": {**_turn(*_answered("f")), "tools": [_FUNCTION]},
        "anthropic": {**_turn(*_used("f")), "tools": [_TOOL]},
        "ollama": {**_turn(*_results_by_name("f")), "tools": [_FUNCTION]},
        "responses": _items(*_done("f"), tools=[_FLAT]),
    },
    "functions, the older form of tools": {
        "openai": {**_ASK, "functions": [_FUNCTION["function"]], "function_call": "auto"},
    },
    "parallel tool calls": {
        "openai": {**_turn(*_answered("f", "g")), "tools": [_FUNCTION]},
        "anthropic": {**_turn(*_used("f", "g")), "tools": [_TOOL]},
        "ollama": {**_turn(*_results_by_name("f", "g")), "tools": [_FUNCTION]},
        "responses": _items(*_done("f", "g"), tools=[_FLAT]),
    },
    "one call at a time": {
        "openai": {**_ASK, "tools": [_FUNCTION], "parallel_tool_calls": False},
        "anthropic": {
            **_ASK,
            "tools": [_TOOL],
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        },
        "responses": {**_SAY, "tools": [_FLAT], "parallel_tool_calls": False},
    },
    "a failed tool call": {"anthropic": _turn(*_used("f", is_error=True), tools=[_TOOL])},
    "a tool run by the service": {
        "openai": {**_ASK, "tools": [_FUNCTION, {"type": "web_search"}]},
        "anthropic": {**_ASK, "tools": [_TOOL, _SEARCH]},
        "responses": {**_SAY, "tools": [_FLAT, {"type": "web_search"}]},
    },
    "images": {
        "openai": _user(
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_PNG}"}}
        ),
        "anthropic": _user(
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": _PNG},
            }
        ),
        "ollama": {"messages": [{"role": "user", "content": "Hi", "images": [_PNG]}]},
        "responses": _input({"type": "input_image", "image_url": f"data:image/png;base64,{_PNG}"}),
    },
    "documents (PDF)": {
        "openai": _user({"type": "file", "file": _FILE}),
        "anthropic": _user(_PDF_BLOCK),
        "responses": _input({"type": "input_file", **_FILE}),
    },
    "audio": {
        "openai": _user(
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
        )
    },
    "reasoning effort": {
        "openai": {**_ASK, "reasoning_effort": "high"},
        "anthropic": {
            **_ASK,
            "max_tokens": 9000,
            "thinking": {"type": "enabled", "budget_tokens": 8000},
        },
        "ollama": {**_ASK, "think": "high"},
        "responses": {**_SAY, "reasoning": {"effort": "high"}},
    },
    "reasoning that is sent back": {
        "openai": _turn({"role": "assistant", "content": "a", "reasoning_content": "hm"}),
        "anthropic": _turn(
            {"role": "assistant", "content": [_SIGNED, {"type": "text", "text": "a"}]}
        ),
        "ollama": _turn({"role": "assistant", "content": "a", "thinking": "hm"}),
        "responses": _items({"type": "reasoning", "summary": [], "encrypted_content": "e"}),
    },
    "a signed tool call": {
        "openai": _turn(
            {"role": "assistant", "content": None, "tool_calls": [{**_calls("f")[0], **_SIGNATURE}]}
        )
    },
    "a refusal in the history": {
        "openai": _turn({"role": "assistant", "content": None, "refusal": "No."})
    },
    "cache markers": {"openai": _user(_CACHED), "anthropic": _user(_CACHED)},
    "a JSON Schema for the answer": {
        "openai": {**_ASK, "response_format": {"type": "json_schema", "json_schema": _SCHEMA}},
        "anthropic": {
            **_ASK,
            "output_config": {"format": {"type": "json_schema", "schema": _PARAMETERS}},
        },
        "ollama": {**_ASK, "format": _PARAMETERS},
        "responses": {**_SAY, "text": {"format": {"type": "json_schema", **_SCHEMA}}},
    },
    "stop sequences": {
        "openai": {**_ASK, "stop": ["END"]},
        "anthropic": {**_ASK, "stop_sequences": ["END"]},
        "ollama": {**_ASK, "options": {"stop": ["END"]}},
    },
    "a seed": {"openai": {**_ASK, "seed": 7}, "ollama": {**_ASK, "options": {"seed": 7}}},
    "penalties": {
        "openai": {**_ASK, "presence_penalty": 1},
        "ollama": {**_ASK, "options": {"presence_penalty": 1}},
        "responses": {**_SAY, "presence_penalty": 1},
    },
    "log probabilities": {
        "openai": {**_ASK, "logprobs": True},
        "ollama": {**_ASK, "logprobs": True},
        "responses": {**_SAY, "top_logprobs": 2},
    },
    "the end user's id": {
        "openai": {**_ASK, "user": "u"},
        "anthropic": {**_ASK, "metadata": {"user_id": "u"}},
        "responses": {**_SAY, "user": "u"},
    },
    "web search in the answer": {"openai": {**_ASK, "web_search_options": {}}},
    "loading of the model": {"ollama": {**_ASK, "keep_alive": "5m", "options": {"num_ctx": 4096}}},
    "a custom tool": {
        "openai": {**_ASK, "tools": [{"type": "custom", "custom": {"name": "p"}}]},
        "responses": {**_SAY, "tools": [{"type": "custom", "name": "p"}]},
    },
    "unknown fields": {
        "openai": {**_ASK, "new_member": 1},
        "anthropic": {**_ASK, "new_member": 1},
        "ollama": {**_ASK, "new_member": 1},
        "responses": {**_SAY, "new_member": 1},
    },
}


def outcome(client: str, service: str, example: Mapping[str, Any]) -> str:
    """Return what happens to an example in a client's dialect at a service of the same or another.

    It is `unchanged`, `translated`, `dropped` with the names, or `refused` with the name.
    """
    body = json.dumps({"model": "m", **example}).encode()
    request = FORMATS[client].decode_request(body).request
    try:
        sent = _encode(FORMATS[service], request)
    except InvalidRequestError as error:
        return f"refused: `{error.param or 'the request'}`"
    if sent.dropped:
        return "dropped: " + ", ".join(f"`{name}`" for name in sent.dropped)
    return "unchanged" if client == service else "translated"


def _encode(chat: Format, request: Any) -> HttpRequest:
    exchange = chat.encode_request(request)
    try:
        next(exchange)
    except StopIteration as done:
        sent: HttpRequest = done.value
        return sent
    raise AssertionError("a format of a known dialect prepares nothing")


def page() -> str:
    """Return the page."""
    return "\n".join([*_matrix(), *_tables(), ""])


def _matrix() -> Iterator[str]:
    yield _HEAD
    for client in FORMATS:
        services = [name for name in FORMATS if name != client]
        yield f"\n## What becomes of a request from {TITLES[client]} clients\n"
        yield (
            f"| sent by {TITLES[client]} clients | "
            + " | ".join(f"to {TITLES[service]}" for service in services)
            + " |"
        )
        yield "|---" * (len(services) + 1) + "|"
        for name, examples in EXAMPLES.items():
            if client in examples:
                cells = [outcome(client, service, examples[client]) for service in services]
                yield f"| {name} | " + " | ".join(cells) + " |"


# Notes of a dialect's reader to its writer: how something was written.
_NOT_SENT = frozenset(
    {
        *("messages.content", "messages.role", "tool_results.content", "continues", "item"),
        *("older_form", "made_id", "instructions", "output_format"),
    }
)


def _tables() -> Iterator[str]:
    for dialect, title in TITLES.items():
        table = table_of(dialect)
        yield f"\n## Fields that only {title} has\n"
        yield "What happens to its fields at a service with another dialect:\n"
        yield "| field | elsewhere |"
        yield "|---|---|"
        for name, fate in sorted(table.own.items()):
            if name not in _NOT_SENT and name.rpartition(".")[2] not in _NOT_SENT:
                yield f"| `{name}` | {fate} |"
        if table.lacks:
            yield "\nOptions that it does not support:\n"
            yield "| option | here |"
            yield "|---|---|"
            for name, fate in sorted(table.lacks.items()):
                yield f"| `{name}` | {fate} |"


_HEAD = """# Dialects: what arrives, and what becomes of it on the way

<!-- Made by `make reference`. -->

The gateway and the services use the dialects of OpenAI (Chat Completions and Responses), Anthropic
and Ollama. Any client can use any service.

**The same dialect on both ends:** every field is forwarded unchanged, in both directions, even
fields that Berlin does not know. The exceptions are `model` (the response has the name that the
client requested) and a few repairs: `image/jpg` becomes `image/jpeg`, schemas get `type` and
`properties`, ids of tool calls get the form that a service requires, empty texts are left out if
a service refuses them, an `id` and a time are added where a service sends none, and `developer`
becomes `system` unless the recipe says `developer_role = "developer"`. What a gateway that stores
responses adds to that: [responses.md](responses.md#a-service-of-this-api-as-a-provider).

**Different dialects:** each field is

* *translated* into the other dialect;
* *dropped*, because it changes neither the answer nor the bill, and listed in the header
  `x-berlin-dropped`;
* *refused* with a 400 that names the field, because the answer would be different without it.

Unknown fields are dropped. Anthropic's cache markers go to a service of Chat Completions if its
recipe says `cache_markers = true`, as those of OpenRouter and LiteLLM do. A value without effect
(a penalty of 0, `logprobs: false`, `n: 1`) is left out silently. In Python, the dropped fields are
in `ChatResponse.started.dropped`.

The same rules apply to responses: text, reasoning, tool calls, finish reasons, stop sequences and
token counts (including cached ones) are translated; fields that only the service's dialect has
are returned only to clients of that dialect.

**State that a service wants back** is carried by clients of any dialect that has a place for it: a
thought signature of Gemini, signed or redacted thinking of Anthropic, encrypted reasoning, the
reasoning text that DeepSeek and others require in tool turns. A service of the same
dialect gets it back even if it is not signed. Clients of another dialect get it sealed, in the
field that they send back unread: `signature` and `redacted_thinking` of Anthropic's messages,
`encrypted_content` of the Responses API, `reasoning_details` of Chat Completions. Ollama has no
such field, and some clients do not send `reasoning_details` back: there the service gets the
conversation without it, and Anthropic's models then continue that turn without thinking. A service
described by a recipe gets text only.
"""


if __name__ == "__main__":
    print(page(), end="")
