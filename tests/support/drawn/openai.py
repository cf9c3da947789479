"""The format of OpenAI's chat, as the property tests draw it."""

from __future__ import annotations

from hypothesis import strategies as st

from berlin.formats.contract import ClientCall
from berlin.formats.openai.format import OpenAIChatFormat
from berlin.types import (
    ChatRequest,
    ImagePart,
    Message,
    Reasoning,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from support.drawn.dialect import JSON, NAMES, OBJECTS, TEXTS, Dialect, dump, members

FORMAT = OpenAIChatFormat("gpt")
CALL = ClientCall(ChatRequest((Message.of("user", "Hello"),), "gpt"), include_usage=True)


ODD = (
    *(b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n', b"data: [DONE]\n\n", b"\n"),
    *(b'data: {"choices":[{"index":0,"delta":{"content":"b"}}]}\r\n\r\n', b": ping\n\n", b"\r"),
    *(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n', b"event: x\n", b"data: "),
    *(b'data: {"choices":[]}\n\n', b'data: {"choices":null,"usage":{"prompt_tokens":1}}\n\n', b"{"),
    *(b'data: {"error":{"message":"no","code":401}}\n\n', b'data: {"error":null}\n\n', b"<html>"),
    *(b'data: {"choices":[{"delta":{"content":1}}]}\n\n', b"data: {}\n\n", b"data: nonsense\n\n"),
    *(b'data: {"choices":\ndata: []}\n\n', b"data: \xff\n\n", b"\0", b"data: [1]\n\n", b"}"),
    *(b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"f"}}]}}]}\n\n', b"data"),
    *(b'data: {"choices":[{"delta":{"tool_calls":[{"index":5,"id":"x"}]}}]}\n\n', b"\n\n"),
)


MEMBERS = members(
    [
        *("choices", "delta", "message", "content", "tool_calls", "function", "arguments"),
        *("error", "code", "usage", "finish_reason", "index", "id", "name", "text", "type"),
        *("thinking", "prompt_tokens", "messages", "role", "model", "tools", "tool_choice"),
        *("response_format", "stop", "n", "stream_options", "max_tokens", "detail"),
    ],
)
BODIES = (
    st.binary(max_size=80)
    | st.lists(MEMBERS.map(dump).map(str.encode), max_size=4).map(
        lambda lines: b"".join(b"data: %b\n\n" % line for line in lines)
    )
    | MEMBERS.map(dump).map(str.encode)
)
EXAMPLES = (
    b'data: {"error":' + b"[" * 200_000 + b"\n\n",
    b'data: {"error":' + b"[" * 9000 + b"]" * 9000 + b"}\n\n",
    b'data: {"choices":[{"delta":{"content":"\\ud800"}}]}\n\n',
    b'data: {"choices":[{"delta":{"refusal":"\xff"}}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":1e999}}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":' + b"9" * 100_000 + b"}}\n\n",
    b'data: {"error":{"code":NaN}}\n\n',
    b'data: {"error":{"code":1e999,"message":"\\ud800"}}\n\n',
    b'{"messages":[{"role":"user","content":"\\ud800"}],"tools":[{"function":[]}]}',
)


# Requests

URLS = st.sampled_from(["https://x.example/a.png", "data:image/png;base64,AAAA"])
PLAIN = st.builds(Message.of, st.sampled_from(["system", "user"]), st.text())
SEEN = st.builds(
    lambda parts, image: Message("user", (*parts, image)),
    st.lists(st.text().map(TextPart) | URLS.map(ImagePart), max_size=3),
    URLS.map(ImagePart),
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Draw messages of which every part can stand on this wire."""
    messages: list[Message] = draw(st.lists(PLAIN | SEEN, min_size=1, max_size=3))
    for n in range(draw(st.integers(0, 3))):
        said = draw(st.lists(TEXTS.map(TextPart), max_size=1))
        calls = [
            ToolCallPart(f"id_{n}_{k}", name, arguments)
            for k, (name, arguments) in enumerate(
                draw(st.lists(st.tuples(NAMES, OBJECTS), max_size=3))
            )
        ]
        if said or calls:
            messages.append(Message("assistant", (*said, *calls)))
        for call in draw(st.permutations(calls)):
            messages.append(Message("tool", (ToolResultPart(call.id, draw(st.text())),)))
        messages.append(draw(PLAIN | SEEN))
    return tuple(messages)


FLOATS = st.floats(0, 2, allow_nan=False)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": FLOATS,
        "top_p": FLOATS,
        "top_k": st.integers(1, 100),
        "seed": st.integers(-(2**31), 2**31),
        "presence_penalty": FLOATS,
        "stop": st.text(max_size=4) | st.lists(st.text(max_size=4), max_size=2),
        "logit_bias": st.dictionaries(NAMES, FLOATS, max_size=2),
        "max_tokens": st.integers(1, 2**31 - 1),
    },
)
# A schema without `type` and `properties` is completed, since services insist on them.
PARAMETERS = st.dictionaries(st.text(max_size=6), JSON, max_size=2).map(
    lambda more: dump({**more, "type": "object", "properties": {}})
)
TOOLS = st.lists(st.builds(Tool, NAMES, st.text(max_size=9), PARAMETERS), max_size=2).map(tuple)


@st.composite
def requests(draw: st.DrawFn) -> ChatRequest:
    """Draw requests; only one that has tools has a choice of them."""
    tools = draw(TOOLS)
    choices = ["auto", "none", "required", *(tool.name for tool in tools)]
    return ChatRequest(
        draw(conversations()),
        draw(st.text("abc:/-.", min_size=1, max_size=12)),
        draw(OPTIONS),
        tools,
        draw(st.sampled_from(choices)) if tools else "auto",
        draw(st.none() | st.booleans()),
        reasoning=draw(st.none() | st.sampled_from(["none", "low", "high"]).map(Reasoning)),
        response_format=draw(
            st.none()
            | OBJECTS.map(lambda schema: ResponseFormat(schema, "answer"))
            | st.just(ResponseFormat())
        ),
    )


DIALECT = Dialect(FORMAT, CALL, ODD, BODIES, EXAMPLES, requests(), reports_usage=False)
