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
    StreamEvent,
    TextPart,
    ToolCallDelta,
    Usage,
)
from support.drawn.dialect import (
    COUNTS,
    FLOATS,
    NAMES,
    OBJECTS,
    TEXTS,
    TOOLS,
    Dialect,
    conversations,
    dump,
    members,
)

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


@st.composite
def requests(draw: st.DrawFn) -> ChatRequest:
    """Draw requests; only one that has tools has a choice of them."""
    tools = draw(TOOLS)
    choices = ["auto", "none", "required", *(tool.name for tool in tools)]
    return ChatRequest(
        draw(conversations(PLAIN | SEEN, TEXTS.map(TextPart))),
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


@st.composite
def calls(draw: st.DrawFn) -> list[StreamEvent]:
    """Draw the pieces of calls: each begins with its name, and has some arguments."""
    events: list[StreamEvent] = []
    for n in range(draw(st.integers(0, 3))):
        events.append(ToolCallDelta(n, f"{draw(TEXTS)}{n}", draw(NAMES)))
        # What says nothing before the arguments begin is not passed on.
        pieces = draw(st.lists(TEXTS, max_size=2))
        pieces.insert(0, draw(TEXTS.filter(lambda p: p.strip() not in ("", "{}", "null"))))
        events += [ToolCallDelta(n, arguments=piece) for piece in pieces]
    return events


USAGES = st.builds(
    Usage, COUNTS, COUNTS, cached_tokens=st.integers(0, 9), reasoning_tokens=st.integers(0, 9)
)
DIALECT = Dialect(
    *(FORMAT, CALL, ODD, BODIES, EXAMPLES, requests(), calls(), USAGES), reports_usage=False
)
