"""The format of Ollama's API, as the property tests draw it."""

from __future__ import annotations

import base64

from hypothesis import strategies as st

from berlin.formats.contract import ClientCall
from berlin.formats.ollama.format import OllamaChatFormat, OllamaGenerateFormat
from berlin.types import (
    ChatRequest,
    ImagePart,
    Message,
    Reasoning,
    ResponseFormat,
    TextPart,
    ToolCallDelta,
    Usage,
)
from support.drawn.dialect import (
    COUNTS,
    FLOATS,
    NAMES,
    TOOLS,
    Dialect,
    conversations,
    dump,
    members,
)
from support.drawn.dialect import OBJECTS as ANY_OBJECTS

CHAT, GENERATE = OllamaChatFormat("llama"), OllamaGenerateFormat("llama")
CALL = ClientCall(ChatRequest((Message.of("user", "Hello"),), "llama"))
# Written as escapes, so that a line stays one line to every reader: the same JSON, other text.
OBJECTS = ANY_OBJECTS.filter(lambda text: not {*text} & {"\x85", "\u2028", "\u2029"})


ODD_LINES = (
    *(b'{"message":{"content":"a"}}\n', b'{"message":{"content":""}}\n', b'{"message":{}}\n'),
    *(b'{"message":{"content":null,"thinking":"t"}}\n', b'{"message":{"content":1}}\n'),
    *(b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]}}\n', b"\n"),
    *(b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":[1]}}]}}\n', b" \r\n", b"{"),
    *(b'{"response":"b"}\n', b'{"done":true}\n', b'{"done":true,"done_reason":"length"}', b"[]\n"),
    *(b'{"message":{"content":"c"},"done":true,"eval_count":1}\n', b'{"error":"no"}\n', b"\xff\n"),
    *(b'{"error":""}\n', b'{"message":"no","code":401}\n', b'{"error":{"message":"x"}}\n', b"}"),
    *(b'{"message":{"content":"d"}}{"message":{"content":"e"}}\n', b"[DONE]\n", b'{"x":1}\n'),
    *(b'{"message":\n', b'{"content":"f"}}\n', b"\0", b"null\n"),
)


MEMBERS = members(
    [
        *("message", "response", "thinking", "tool_calls", "done", "done_reason", "error"),
        *("code", "eval_count", "prompt_eval_count", "model", "content", "function", "name"),
        *("arguments", "role", "messages", "options", "format", "think", "images", "prompt"),
    ],
)
BODIES = st.binary(max_size=80) | st.lists(MEMBERS.map(dump).map(str.encode), max_size=4).map(
    b"\n".join
)
EXAMPLES = (
    b'{"error":' + b"[" * 200_000,
    b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":' + b"[" * 9000,
    b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"a":1e999}}}]}}\n',
    b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"a":"\\ud800"}}}]}}\n',
    b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"a":"\xff"}}}]}}\n',
    b'{"message":{"content":"\\ud800"}}\n',
    b'{"eval_count":' + b"9" * 100_000 + b"}\n",
    b'{"done":true,"eval_count":1e999}\n',
    b'{"error":{"code":NaN}}\n',
)


# Requests

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(9)).decode()
JPEG = "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(9)).decode()
TEXTS = st.text(min_size=1, max_size=20).map(TextPart)
IMAGES = st.lists(st.sampled_from([PNG, JPEG]).map(ImagePart), max_size=2)
PLAIN = st.builds(
    lambda role, text: Message(role, (text,)), st.sampled_from(["system", "user"]), TEXTS
)
SEEN = st.builds(lambda text, images: Message("user", (text, *images)), TEXTS, IMAGES)


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": FLOATS,
        "top_p": FLOATS,
        "top_k": st.integers(1, 100),
        "min_p": FLOATS,
        "seed": st.integers(-(2**31), 2**31),
        "presence_penalty": FLOATS,
        "frequency_penalty": FLOATS,
        "stop": st.lists(st.text(max_size=4), max_size=2),
        "max_tokens": st.integers(1, 2**31 - 1),
    },
)
REQUESTS = st.builds(
    ChatRequest,
    conversations(PLAIN | SEEN, TEXTS, OBJECTS),
    st.text("abc:/-.", min_size=1, max_size=12),
    OPTIONS,
    TOOLS,
    response_format=st.none() | OBJECTS.map(ResponseFormat) | st.just(ResponseFormat()),
    reasoning=st.none() | st.sampled_from(["none", "low", "medium", "high"]).map(Reasoning),
)


CALLS = st.lists(st.tuples(st.text(min_size=1, max_size=8), NAMES, OBJECTS), max_size=3).map(
    lambda calls: [
        ToolCallDelta(n, f"{id}{n}", name, arguments)
        for n, (id, name, arguments) in enumerate(calls)
    ]
)
USAGES = st.builds(Usage, COUNTS, COUNTS)
DIALECT = Dialect(
    *(CHAT, CALL, ODD_LINES, BODIES, EXAMPLES, REQUESTS, CALLS, USAGES), reports_usage=True
)
