"""The format of Anthropic's messages, as the property tests draw it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from berlin.formats.anthropic.format import AnthropicMessagesFormat
from berlin.formats.contract import ClientCall
from berlin.types import (
    ChatRequest,
    ImagePart,
    Message,
    ResponseFormat,
    StreamEvent,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    ToolResultPart,
    Usage,
)
from support.drawn.dialect import (
    COUNTS,
    FLOATS,
    NAMES,
    OBJECTS,
    SCHEMAS,
    TOOLS,
    Dialect,
    dump,
    members,
)

CHAT = AnthropicMessagesFormat("claude")
CALL = ClientCall(ChatRequest((Message.of("user", "Hello"),), "claude"))


def frame(**members: Any) -> bytes:
    """Return an event without its name, as some services write it."""
    return f"data: {dump(members)}\n\n".encode()


TOOL_USE = {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}
ODD_FRAMES = (
    *(frame(type="message_start", message={"usage": {"input_tokens": 1}}), b"\n", b"\r\n"),
    *(frame(type="message_start", message=None), frame(type="ping"), frame(type="new", delta=1)),
    *(frame(type="content_block_start", index=0, content_block=TOOL_USE), b"event: x\n"),
    *(frame(type="content_block_start", index=0, content_block={"type": "text"}), b"data: {"),
    *(frame(type="content_block_start", content_block=TOOL_USE), b"data: [DONE]\n\n"),
    *(frame(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "a"}),),
    frame(
        type="content_block_delta",
        index=0,
        delta={"type": "input_json_delta", "partial_json": "{"},
    ),
    *(frame(type="content_block_delta", delta=5), frame(type="content_block_stop", index=0)),
    *(frame(type="message_delta", delta={"stop_reason": "end_turn"}, usage=None), b"{"),
    *(frame(type="message_delta", usage={"output_tokens": 2}), frame(type="message_stop")),
    *(frame(type="error", error={"type": "overloaded_error"}), frame(error="no"), frame(x=1)),
    *(frame(type="message", content=[TOOL_USE]), b"data: \xff\n\n", b"data: 5\n\n", b"\xef\xbb"),
)


MEMBERS = members(
    [
        *("type", "index", "delta", "content_block", "content", "usage", "message", "error"),
        *("text", "thinking", "id", "name", "input", "partial_json", "stop_reason", "code"),
        *("messages", "role", "system", "tools", "tool_choice", "source", "output_config"),
    ],
    *("message", "message_start", "message_delta", "content_block_start"),
    *("content_block_delta", "text", "tool_use", "tool_result", "image", "user"),
)
BODIES = (
    st.binary(max_size=80)
    | st.lists(MEMBERS.map(lambda m: frame(**m)), max_size=4).map(b"".join)
    | MEMBERS.map(dump).map(str.encode)
)
EXAMPLES = (
    b'data: {"error":' + b"[" * 200_000,
    b'data: {"type":"error","error":' + b"[" * 9000 + b"]" * 9000 + b"}\n\n",
    b'data: {"type":"message_start","message":' + b"[" * 9000 + b"]" * 9000 + b"}\n\n",
    b'data: {"type":"message_delta","usage":{"input_tokens":' + b"9" * 9000 + b"}}\n\n",
    b'data: {"type":"message_delta","usage":{"input_tokens":1e999}}\n\n',
    b'{"type":"message","content":[{"type":"tool_use","input":{"a":"\xff"}}]}',
    b'{"type":"message","content":[{"type":"tool_use","input":{"a":"\\ud800"}}]}',
    b'{"type":"message","content":[{"type":"text","text":"\\ud800"}]}',
    b'{"error":{"code":NaN}}',
    b'{"messages":[{"role":"user","content":' + b"[" * 9000 + b"]" * 9000 + b"}]}",
    b'{"messages":[{"role":"user","content":"\\ud800"}]}',
    b'{"messages":[{"role":"user","content":"a"}],"temperature":1e999}',
)


# Requests

IMAGES = st.sampled_from(["data:image/png;base64,AAAA", "https://x.example/a.png"]).map(ImagePart)
# The API refuses blank texts, and an answer that ends in blanks.
VISIBLE = st.text(min_size=1, max_size=20).map(str.strip).filter(bool)
TEXTS = VISIBLE.map(TextPart)
SEEN = st.lists(TEXTS | IMAGES, min_size=1, max_size=3).map(
    lambda parts: Message("user", tuple(parts))
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Draw messages in the order of this wire: the system, then the speakers in turn."""
    messages = [Message.of("system", text) for text in draw(st.lists(VISIBLE, max_size=1))]
    messages.append(draw(SEEN))
    ids = (f"id_{n}-x" for n in range(100))
    for _ in range(draw(st.integers(0, 3))):
        asked = [
            ToolCallPart(next(ids), name, arguments)
            for name, arguments in draw(st.lists(st.tuples(NAMES, OBJECTS), max_size=3))
        ]
        said = draw(st.lists(TEXTS, min_size=0 if asked else 1, max_size=2))
        messages.append(Message("assistant", (*said, *asked)))
        for call in draw(st.permutations(asked)):
            messages.append(Message("tool", (ToolResultPart(call.id, draw(st.text())),)))
        if not asked or draw(st.booleans()):
            messages.append(draw(SEEN))
    return tuple(messages)


OPTIONS = st.fixed_dictionaries(
    {"max_tokens": st.integers(1, 2**31 - 1)},
    optional={
        "temperature": FLOATS,
        "top_p": FLOATS,
        "top_k": st.integers(1, 100),
        # The API refuses a blank one, so it is left out.
        "stop": st.lists(st.text(max_size=4).filter(str.strip), min_size=1, max_size=2),
    },
)


@st.composite
def requests(draw: st.DrawFn) -> ChatRequest:
    """Draw requests of which every member has its place on this wire."""
    tools = draw(TOOLS)
    options = draw(OPTIONS)
    choice, parallel = "auto", None
    if tools:
        choice = draw(st.sampled_from(["auto", "none", "required", *(t.name for t in tools)]))
        if choice != "none" and draw(st.booleans()):
            parallel = False
    return ChatRequest(
        draw(conversations()),
        draw(st.text("abc:/-.", min_size=1, max_size=12)),
        options,
        tools,
        choice,
        parallel,
        response_format=draw(st.none() | SCHEMAS.map(ResponseFormat)),
    )


@st.composite
def calls(draw: st.DrawFn) -> list[StreamEvent]:
    """Draw calls one after the other, each in a head and the pieces of its arguments."""
    events: list[StreamEvent] = []
    for n, (id, name) in enumerate(draw(st.lists(st.tuples(NAMES, NAMES), max_size=3))):
        events.append(ToolCallDelta(n, f"{id}{n}", name))
        text = draw(OBJECTS)
        middle = draw(st.integers(0, len(text)))
        pieces = [text[:middle], text[middle:]]
        events += [ToolCallDelta(n, arguments=piece) for piece in pieces if piece]
    return events


USAGES = st.tuples(COUNTS, COUNTS, COUNTS, COUNTS).map(
    lambda n: Usage(n[0] + n[2], n[1], False, n[2], n[3], cache_write_tokens=0)
)
DIALECT = Dialect(
    *(CHAT, CALL, ODD_FRAMES, BODIES, EXAMPLES, requests(), calls(), USAGES), reports_usage=True
)
