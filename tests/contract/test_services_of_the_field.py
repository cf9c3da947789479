"""Shapes that services add to OpenAI's chat completions, and others to Anthropic's and Ollama's.

Written anew after their references and after public reports of proxies that met them, 2026-11.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from berlin.gateway.catalog import Service
from support.answers import FORMATS
from support.gateway import ANTHROPIC, OPENAI, Answer, Dialect, described_provider, serve
from support.playing import playing

USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
SIGNED = {"google": {"thought_signature": "sig"}}
SAFE = {"hate": {"filtered": False, "severity": "safe"}}


def call(id: str = "c1", arguments: str = "{}", **more: Any) -> dict[str, Any]:
    """Return a tool call."""
    return {
        "id": id,
        "type": "function",
        "function": {"name": "f", "arguments": arguments},
        **more,
    }


def chunk(delta: Any, finish: str | None = None, *, choice: Any = (), **more: Any) -> Any:
    """Return a chunk of a stream."""
    made = {"index": 0, "delta": delta, "finish_reason": finish, **dict(choice)}
    head = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**head, "choices": [made], **more}


def detail(**members: Any) -> dict[str, Any]:
    """Return a delta with a piece of OpenRouter's details of reasoning."""
    return {"content": "", "reasoning_details": [members]}


def thinking(text: str) -> dict[str, Any]:
    """Return a part of content as Mistral's models that reason write it."""
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


async def ask(
    answer: bytes, *bodies: dict[str, Any], dialect: Dialect = OPENAI, format: str = "openai",
    more: str = "",
) -> tuple[list[Answer], list[Any]]:  # fmt: skip
    """Return what a client gets, and what a service that answers this was sent."""
    seen: list[Any] = []

    async def play(request: web.Request) -> web.StreamResponse:
        seen.append(json.loads(await request.read()))
        kind = "application/x-ndjson" if format == "ollama" else "text/event-stream"
        return web.Response(body=answer, content_type=kind)

    async with playing(play) as url:
        provider = described_provider(f"{url}/v1", FORMATS[format], more=more)
        async with serve(Service("s", provider, any_model=True)) as at:
            got = [await at.post(dialect, {"model": "s:m", **body}) for body in bodies]
    return got, seen


def sse(*documents: Any) -> bytes:
    """Return a stream."""
    frames = [b"data: %b\n\n" % json.dumps(document).encode() for document in documents]
    return b"".join([*frames, b"data: [DONE]\n\n"])


DONE = sse(chunk({"role": "assistant", "content": "ok"}), chunk({}, "stop"))
ANSWERS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "Mistral: thinking as parts of the content": (
        [
            chunk({"role": "assistant", "content": [thinking("Let ")]}),
            chunk({"content": [thinking("me")]}),
            chunk({"content": [{"type": "text", "text": "Paris"}]}),
            chunk({"content": "!"}, "stop", usage=USAGE),
        ],
        {"content": "Paris!", "reasoning_content": "Let me"},
    ),
    "Gemini: a signature of text, in its last chunk": (
        [
            chunk({"role": "assistant", "content": "Hel"}),
            chunk({"content": "lo", "extra_content": SIGNED}, "stop"),
        ],
        {"content": "Hello", "extra_content": SIGNED},
    ),
    "OpenRouter: pieces of details, by their index": (
        [
            chunk({"reasoning": "Th", **detail(type="reasoning.text", text="Th", index=0)}),
            chunk({"reasoning": "ink", **detail(type="reasoning.text", text="ink", index=0)}),
            chunk(detail(type="reasoning.text", signature="SIG", index=0)),
            chunk(detail(type="reasoning.encrypted", data="ENC", id="c1", index=1)),
            chunk({"tool_calls": [{"index": 0, **call()}]}, "tool_calls"),
        ],
        {
            "reasoning": "Think",
            "reasoning_details": [
                {"type": "reasoning.text", "text": "Think", "index": 0, "signature": "SIG"},
                {"type": "reasoning.encrypted", "data": "ENC", "id": "c1", "index": 1},
            ],
            "tool_calls": [call()],
        },
    ),
    "Ollama: each of two calls is the first": (
        [
            chunk({"role": "assistant", "tool_calls": [{"index": 0, **call("a")}]}),
            chunk({"role": "assistant", "tool_calls": [{"index": 0, **call("b")}]}),
            chunk({"content": ""}, "tool_calls"),
        ],
        {"tool_calls": [call("a"), call("b")]},
    ),
    "Qwen: later pieces with an empty id and name": (
        [
            chunk({"content": None, "tool_calls": [{"index": 0, **call(arguments="")}]}),
            chunk(
                {
                    "tool_calls": [
                        {"index": 0, "id": "", "function": {"name": "", "arguments": '{"a":'}}
                    ]
                }
            ),
            chunk(
                {"tool_calls": [{"index": 0, "id": "", "function": {"arguments": "1}"}}]},
                "tool_calls",
            ),
        ],
        {"tool_calls": [call(arguments='{"a":1}')]},
    ),
    "Zhipu: whole calls without an index": (
        [chunk({"role": "assistant", "tool_calls": [call("a"), call("b")]}, "tool_calls")],
        {"tool_calls": [call("a"), call("b")]},
    ),
    "Perplexity: the whole message beside each piece": (
        [
            chunk({"content": "He"}, choice={"message": {"content": "He"}}),
            chunk({"content": "y"}, "stop", choice={"message": {"content": "Hey"}}),
        ],
        {"content": "Hey"},
    ),
    "Together: its own word for the end, and odd members": (
        [
            chunk({"role": "assistant", "content": "Hi", "token_id": 5, "tool_calls": None}),
            chunk({"content": "", "token_id": 8}, "eos", choice={"text": "", "logprobs": None}),
        ],
        {"content": "Hi"},
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_what_a_client_puts_together(name: str) -> None:
    """Text, reasoning, state and calls of a stream make the message that the service meant."""
    chunks, expected = ANSWERS[name]
    [got], _ = await ask(sse(*chunks), {"messages": [USER], "tools": [TOOL], "stream": False})
    assert got.status == 200, got.data
    [choice] = got.json["choices"]
    assert {n: choice["message"].get(n) for n in expected} == expected
    assert choice["finish_reason"] == ("tool_calls" if "tool_calls" in expected else "stop")


async def test_azure_says_what_its_filters_found() -> None:
    """Chunks without an id, without choices or without a delta cost nothing and are passed on."""
    empty = {"id": "", "object": "", "created": 0, "model": "", "usage": None}
    late = {"index": 0, "finish_reason": None, "content_filter_results": SAFE}
    [got], _ = await ask(
        sse(
            {**empty, "choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "Hello"}, choice={"content_filter_results": SAFE}),
            {**empty, "choices": [{**late, "content_filter_offsets": {"check_offset": 1}}]},
            chunk({}, "stop"),
        ),
        {"messages": [USER], "stream": True},
    )
    documents = OPENAI.documents(got.data)
    assert "".join(OPENAI.pieces(got.data)) == "Hello"
    assert all("delta" in choice for document in documents for choice in document["choices"])
    assert {document["id"] for document in documents[1:]} == {"x"}
    assert all(document["id"] for document in documents)
    assert b"prompt_filter_results" in got.data
    assert b"content_filter_offsets" in got.data


@pytest.mark.parametrize(
    "last",
    [
        chunk({}, "stop", usage={**USAGE, "prompt_tokens_details": None}),
        chunk({}, "stop", choice={"usage": USAGE}),
        {**chunk({}), "choices": [], "usage": USAGE},
    ],
    ids=["vLLM", "Moonshot", "OpenAI"],
)
async def test_counts_are_found(last: Any) -> None:
    """Where services say what an answer has cost: in the answer, the choice, or a last chunk."""
    first = chunk({"role": "assistant", "content": "Hi"}, "stop")
    [got], _ = await ask(sse(first, last), {"messages": [USER], "stream": False})
    assert got.json["usage"]["total_tokens"] == 7
    assert "estimated" not in got.json["usage"]


THOUGHT = {"role": "assistant", "content": "a", "reasoning_content": "hm"}
CALLED = {"role": "assistant", "content": None, "reasoning_content": "", "tool_calls": [call()]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "1"}
PART = {"type": "text", "text": "a"}


@pytest.mark.parametrize(
    ("back", "message", "expected"),
    [
        ("any", THOUGHT, {"content": "a", "reasoning_content": "hm"}),
        ("any", {**THOUGHT, "reasoning": "hm"}, {"content": "a", "reasoning": "hm"}),
        ("any", CALLED, {"content": None, "reasoning_content": "", "tool_calls": [call()]}),
        ("thinking", THOUGHT, {"content": [thinking("hm"), PART]}),
        ("thinking", CALLED, {"content": None, "tool_calls": [call()]}),
        ("reasoning", THOUGHT, {"content": "a"}),
        ("reasoning", {**THOUGHT, "reasoning": "hm"}, {"content": "a", "reasoning": "hm"}),
        ("none", {**THOUGHT, "reasoning": "hm"}, {"content": "a"}),
        ("reasoning_content", THOUGHT, {"content": "a", "reasoning_content": "hm"}),
        (
            "reasoning_content",
            CALLED,
            {"content": None, "reasoning_content": "", "tool_calls": [call()]},
        ),
    ],
)
async def test_reasoning_goes_back_as_the_service_takes_it(
    back: str, message: dict[str, Any], expected: dict[str, Any]
) -> None:
    """DeepSeek wants it in every turn, even empty; Groq only under its own name, and Mistral as a
    part of the content: they answer 400 and 422 to the other names.
    """
    turns = [USER, message, *([RESULT] if "tool_calls" in message else [USER])]
    body = {"messages": turns, "tools": [TOOL]}
    [got], [sent] = await ask(DONE, body, more=f'reasoning_back = "{back}"\n')
    assert got.status == 200, got.data
    assert sent["messages"][1] == {"role": "assistant", **expected}
    is_lost = "hm" in json.dumps(message) and "hm" not in json.dumps(expected)
    assert got.headers.get("x-berlin-dropped") == ("messages.reasoning" if is_lost else None)


async def test_deepseek_gets_the_reasoning_of_another_model() -> None:
    """Claude Code may change the model within a conversation; DeepSeek refuses calls without it."""
    block = {"type": "thinking", "thinking": "hm", "signature": "of-anthropic"}
    used = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "1"}
    body = {
        "max_tokens": 9,
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "messages": [
            USER,
            {"role": "assistant", "content": [block, used]},
            {"role": "user", "content": [result]},
        ],
    }
    _, [sent] = await ask(
        DONE, body, dialect=ANTHROPIC, more='reasoning_back = "reasoning_content"'
    )
    assert sent["messages"][1]["reasoning_content"] == "hm"
    assert "of-anthropic" not in json.dumps(sent)


async def test_bedrock_adds_to_anthropic_s_events() -> None:
    """Its metrics and a new reason for the end cost nothing: a cut answer never looks whole."""
    usage = {"input_tokens": 3, "output_tokens": 1}
    message = {"id": "m", "type": "message", "role": "assistant", "content": [], "usage": usage}
    events = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "Hi"},
        },
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "model_context_window_exceeded", "stop_sequence": None},
            "usage": {"output_tokens": 9},
        },
        {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"outputTokenCount": 9}},
    ]
    whole = {"messages": [USER], "stream": False, "max_tokens": 9}
    [other], _ = await ask(sse(*events), whole, format="anthropic")
    [same], _ = await ask(sse(*events), whole, format="anthropic", dialect=ANTHROPIC)
    assert other.json["choices"][0]["finish_reason"] == "length"
    assert same.json["stop_reason"] == "model_context_window_exceeded"


async def test_ollama_sends_several_calls_at_once() -> None:
    """Calls without ids in one line get ids of their own and their indexes."""
    calls = [{"function": {"name": "f", "arguments": {"a": n}}} for n in (1, 2)]
    lines = [
        {"message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False},
        {"message": {"role": "assistant", "content": "", "tool_calls": calls}, "done": False},
        {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
    ]
    data = b"".join(json.dumps({"model": "m", **line}).encode() + b"\n" for line in lines)
    [got], _ = await ask(
        data, {"messages": [USER], "tools": [TOOL], "stream": False}, format="ollama"
    )
    [choice] = got.json["choices"]
    made = choice["message"]["tool_calls"]
    assert [json.loads(one["function"]["arguments"]) for one in made] == [{"a": 1}, {"a": 2}]
    assert len({one["id"] for one in made}) == 2
    assert choice["finish_reason"] == "tool_calls"


START = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 1}}}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
PIECE = {
    "type": "content_block_delta",
    "index": 0,
    "delta": {"type": "text_delta", "text": "Hi"},
}
END = [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}]
ODD: dict[str, tuple[str, bytes]] = {
    "pings as data": (
        "openai",
        b'data: {"type":"ping"}\n\ndata: ping\n\ndata: "PING"\n\n'
        + sse(chunk({"content": "Hi"}, "stop")),
    ),
    "content as a list of texts": (
        "openai",
        sse(chunk({"content": ["H", {"type": "text", "text": "i"}]}, "stop")),
    ),
    "Anthropic: pings without a type": (
        "anthropic",
        b"event: ping\ndata: {}\n\nevent: ping\ndata: ping\n\n" + sse(START, BLOCK, PIECE, *END),
    ),
    "Anthropic: a whole answer whose content is text": (
        "anthropic",
        json.dumps({"type": "message", "content": "Hi", "stop_reason": "end_turn"}).encode(),
    ),
}


@pytest.mark.parametrize("name", ODD)
async def test_oddities_do_not_cost_the_text(name: str) -> None:
    """What keeps a connection alive is skipped, and text in another form is still the text."""
    format, data = ODD[name]
    [got], _ = await ask(data, {"messages": [USER], "stream": False}, format=format)
    assert got.status == 200, got.data
    assert got.json["choices"][0]["message"]["content"] == "Hi"
