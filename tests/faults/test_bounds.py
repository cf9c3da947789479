"""Bounds of what comes from outside that no other test shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from berlin import Berlin
from berlin.auth.credentials import Credentials
from berlin.auth.flows.login import read_answer
from berlin.config import Settings
from berlin.errors import BerlinError, ProtocolError
from berlin.errors.base import MAX_MESSAGE_CHARS
from berlin.formats.anthropic.format import AnthropicMessagesFormat
from berlin.formats.client_request import MAX_TOOLS
from berlin.formats.contract import ClientCall
from berlin.formats.ollama.format import OllamaChatFormat
from berlin.formats.openai.format import OpenAIChatFormat
from berlin.formats.responses.format import ResponsesFormat
from berlin.formats.tool_calls import ToolCallAssembler
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.observe.metrics import PrometheusMetrics
from berlin.language.step import MAX_STEP_VALUES, CompiledStep, Step, read_object
from berlin.language.tables.keeping import KeepingMap
from berlin.language.values.template import Template
from berlin.providers.contract import Burst, is_long
from berlin.providers.long import MAX_EVENTS
from berlin.providers.scripted import ScriptedProvider
from berlin.recipes.recipe import parse_recipe
from berlin.routing.conversations.memory import MemoryHeads
from berlin.routing.conversations.provider import MAX_HEAD_CHARS, Conversations
from berlin.types import (
    ChatRequest,
    Endpoint,
    Extra,
    ExtraDelta,
    Finished,
    HttpResponse,
    ImagePart,
    Message,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    TextPart,
    Tool,
    ToolCallDelta,
)
from berlin.wire.json import MAX_VALUES
from berlin.wire.pointer import get_at, parse_pointer
from berlin.wire.status import EXPLANATIONS, describe_error
from support.gateway import (
    ANTHROPIC,
    OLLAMA,
    OPENAI,
    PATIENT,
    RESPONSES,
    Dialect,
    described_provider,
    serve,
)
from support.playing import playing

FUNCTION = {"name": "f", "parameters": {}}
TOOLS = {
    OPENAI: {"type": "function", "function": FUNCTION},
    OLLAMA: {"type": "function", "function": FUNCTION},
    RESPONSES: {"type": "function", **FUNCTION},
    ANTHROPIC: {"name": "f", "input_schema": {}},
}


@pytest.mark.parametrize("dialect", TOOLS, ids=str)
async def test_very_many_tools(dialect: Dialect) -> None:
    """They are a 400 that names the bound."""
    async with serve(Service("s", ScriptedProvider(), ["m1"])) as at:
        told = await at.ask(dialect, tools=[TOOLS[dialect]] * (MAX_TOOLS + 1))
        assert (told.status, f"more than {MAX_TOOLS} tools" in told.message) == (400, True)


def test_what_is_long_leaves_the_loop() -> None:
    """Not only long texts: very many messages, parts or tools are work for a thread."""
    one = Message.of("user", "Hi")
    many = Message("user", (TextPart(""),) * 501)
    assert not is_long(ChatRequest((one,)))
    assert is_long(ChatRequest((one,) * 501))
    assert is_long(ChatRequest((many,)))
    assert is_long(ChatRequest((one,), tools=(Tool("f"),) * 501))
    assert is_long(ChatRequest((one,), tools=(Tool("f", parameters="x" * 300_000),)))
    image = Message("user", (TextPart("x"), ImagePart("data:image/png;base64," + "A" * 300_000)))
    few = Message("user", (TextPart("x"), TextPart("y")))
    assert is_long(ChatRequest((image,)))
    assert is_long(ChatRequest((one,), options={"logit_bias": {str(n): 1 for n in range(5_000)}}))
    assert is_long(ChatRequest((one,), options={"stop": ["a"] * 5_000}))
    assert is_long(ChatRequest((one,), extra=Extra("openai", {"metadata": {"k" * 300_000: 1}})))
    assert is_long(ChatRequest((few,) * 400 + (Message("user", (TextPart("x" * 300_000),) * 2),)))
    assert not is_long(ChatRequest((few,) * 200, options={"stop": ["a"] * 10, "temperature": 1}))


class Keeping(ScriptedProvider):
    """Answers in a conversation of its own."""

    def __init__(self, conversation: str, pieces: int) -> None:
        super().__init__()
        self._conversation, self._pieces = conversation, pieces

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Answer in large pieces."""
        for _ in range(self._pieces):
            yield [TextDelta("x" * 1_000_000)]
        yield [Finished(conversation_id=self._conversation)]


@pytest.mark.parametrize(
    ("conversation", "pieces", "kept"),
    [("c1", 1, 1), ("c" * (MAX_HEAD_CHARS + 1), 1, 0), ("c1", 18, 0)],
    ids=["usual", "long id", "long answer"],
)
async def test_what_a_conversation_remembers(conversation: str, pieces: int, kept: int) -> None:
    """A huge id or answer is not remembered; the answer streams to its end all the same."""
    heads = MemoryHeads()
    provider = Conversations(Keeping(conversation, pieces), KeepingMap(), heads)
    ended = [burst async for burst in provider.bursts(ChatRequest((Message.of("user", "Hi"),)))]
    assert len(ended) == pieces + 1
    assert len(heads._heads) == kept


PIECE = "r" * 64 * 1024
ENDLESS: dict[str, StreamEvent] = {
    "text": TextDelta(PIECE),
    "reasoning": ReasoningDelta(PIECE),
    "arguments": ToolCallDelta(0, "", "", PIECE),
}


@pytest.mark.parametrize(
    ("face", "kind"),
    [
        (OpenAIChatFormat, "reasoning"),
        (OpenAIChatFormat, "arguments"),
        (AnthropicMessagesFormat, "arguments"),
        (OllamaChatFormat, "arguments"),
        *[(ResponsesFormat, kind) for kind in ENDLESS],
    ],
)
def test_a_stream_holds_only_so_much(face: type[Any], kind: str) -> None:
    """What a dialect repeats at the end, or sends as a whole, is an error where it never ends."""
    request = ChatRequest((Message("user", (TextPart("Hi"),)),), "m")
    encoder = face().encoder(ClientCall(request))
    encoder.encode_event(ToolCallDelta(0, "c", "f", "{"))
    for _ in range(200):
        encoder.encode_event(ENDLESS[kind])
    with pytest.raises(ProtocolError, match="what has to be held of the stream is longer than"):
        for _ in range(56):
            encoder.encode_event(ENDLESS[kind])


def test_tool_calls_of_a_service_hold_only_so_much() -> None:
    """Neither endless arguments nor endless calls fill the memory of whoever reads a stream."""
    told = "what the answer's tool calls say is longer than"
    calls = ToolCallAssembler()
    with pytest.raises(ProtocolError, match=told):
        for n in range(257):
            calls.add([], 0, "c", "" if n else "f", PIECE)
    calls = ToolCallAssembler()
    with pytest.raises(ProtocolError, match=told):
        for n in range(4_097):
            calls.add([], n, "", "f", "")
    calls = ToolCallAssembler()
    with pytest.raises(ProtocolError, match="a tool's name is longer than"):
        for n in range(5_000):
            calls.add([], 0, "", "ab"[n % 2], "")


def openai_event(members: str) -> bytes:
    """Return an event with these members of its delta."""
    return b'data: {"choices":[{"index":0,"delta":{%b}}]}\n\n' % members.encode()


CALL = '{"id":"c%d","type":"function","function":{"name":"f","arguments":"{}"}}'
LARGE = {
    "many pieces of text": (
        openai_event('"content":[' + ",".join(['{"text":"a"}'] * 20_000) + "]"),
        "a" * 20_000,
    ),
    "a picture of 10 MB": (openai_event('"content":"' + "x" * 10_000_000 + '"'), "x" * 10_000_000),
    "4,000 calls": (
        openai_event('"tool_calls":[' + ",".join(CALL % n for n in range(4_000)) + "]"),
        "",
    ),
}


async def events_of(data: bytes, asked: ChatRequest) -> list[Burst]:
    """Return the bursts of an OpenAI service that sends this."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=data, content_type="text/event-stream")

    async with playing(answer) as url, described_provider(url) as provider:
        return [burst async for burst in provider.bursts(asked)]


@pytest.mark.parametrize(("event", "text"), LARGE.values(), ids=LARGE)
async def test_a_large_event_is_cut(event: bytes, text: str) -> None:
    """All of one event arrives, in bursts that are each little work, with turns in between."""
    end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    bursts = await events_of(event + end, ChatRequest((Message.of("user", "Hi"),)))
    said = [event for burst in bursts for event in burst]
    assert "".join(e.text for e in said if isinstance(e, TextDelta)) == text
    assert max(map(len, bursts)) <= MAX_EVENTS
    assert len(bursts) > 5


MANY = b"[" + b"{}," * (MAX_VALUES // 2) + b"{}]"


@pytest.mark.parametrize(
    "format", [OpenAIChatFormat, AnthropicMessagesFormat, OllamaChatFormat, ResponsesFormat]
)
@pytest.mark.parametrize("around", [b'data: {"x":%b}\n\n', b'{"x":%b}\n'], ids=["event", "whole"])
def test_a_document_with_very_many_values(format: type[Any], around: bytes) -> None:
    """It is an error before it is decoded, whatever the dialect, in a stream and as the body."""
    decoder = format().decoder()
    assert [*decoder.feed(around % MANY), *decoder.finish()] == []
    assert "has more than 500000 values" in str(decoder.failure)


def test_what_a_service_wants_back_is_bounded_too() -> None:
    """Signatures of another dialect that never end are not kept without an end."""
    request = ChatRequest((Message.of("user", "Hi"),), "m")
    for face in (OpenAIChatFormat, AnthropicMessagesFormat, ResponsesFormat):
        encoder = face().encoder(ClientCall(request))
        piece = ExtraDelta(Extra("x", {"signature": PIECE}), "reasoning")
        with pytest.raises(ProtocolError, match="what has to be held of the stream is longer than"):
            for _ in range(257):
                encoder.encode_event(piece)


def test_the_json_of_a_login_or_a_step_with_very_many_values() -> None:
    """It is an error before it is decoded; the JSON of an error is then shown as text."""
    many = b'{"token":"t","x":[' + b"1," * MAX_STEP_VALUES + b"1]}"
    with pytest.raises(ProtocolError, match="more than 50000 values"):
        read_object(many, "/step")
    with pytest.raises(ProtocolError, match="not a JSON object"):
        read_answer(HttpResponse(200, {}, {}, many), "ann", "the login")
    assert describe_error(many, EXPLANATIONS).startswith('{"token":"t"')


class Counting(ThreadPoolExecutor):
    """The threads of a loop; counts what they were given."""

    given = 0

    def submit(self, *args: Any, **options: Any) -> Any:
        """Count, and run."""
        self.given += 1
        return super().submit(*args, **options)


@pytest.fixture
async def threads() -> AsyncGenerator[Counting]:
    """Give the threads of the test's loop."""
    with Counting(2) as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        yield threads


STEPS = """
schema = 1
name = "s"
description = "a service of a test"
[endpoint]
url = "{url}"
[auth]
flow = "login"
[[auth.steps]]
path = "/login"
take = {{ token = {{ field = "t" }} }}
[chat]
format = "openai-chat"
[[chat.prepare]]
path = "/prepare"
take = {{ nonce = {{ meta = "n" }} }}
[chat.headers]
X-Nonce = "{{nonce}}"
"""


async def test_long_pages_of_logins_and_steps_leave_the_loop(threads: Counting) -> None:
    """A page of the login and one of a step are each searched in a thread."""
    page = "<p>" * 60_000 + "<input name=t value=T><meta name=n content=N>"

    async def answer(request: web.Request) -> web.Response:
        if request.path.startswith("/v1") or "chat" in request.path:
            assert request.headers["X-Nonce"] == "N"
            return web.json_response(
                {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}
            )
        return web.Response(text=page, content_type="text/html")

    async with playing(answer) as url:
        recipe = parse_recipe(STEPS.format(url=url), "s.toml")
        account = Credentials.checked("s", account="a")
        settings = Settings("s", recipe, Endpoint.of(url), account, PATIENT)
        async with Berlin.from_settings(settings) as provider:
            assert (await provider.ask("Hi")).text == "Hello"
    assert threads.given == 2


async def test_long_lists_and_many_metrics_leave_the_loop(threads: Counting) -> None:
    """Lists of very many models, the page and the metrics are written in a thread."""
    many = Service("s", ScriptedProvider(), [f"m{n}" for n in range(600)])
    metrics = PrometheusMetrics(["s"], ["openai"])
    async with serve(many, metrics=metrics) as at:
        for n, path in enumerate(("/v1/models", "/api/tags", "/api/ps", "/", "/metrics"), 1):
            told = await at.get(path, Accept="text/html")
            assert (told.status, threads.given) == (200, n)


def test_new_members_in_each_event() -> None:
    """Members of the answer that have another name each time are not remembered without an end."""
    decoder = OpenAIChatFormat().decoder()
    with pytest.raises(ProtocolError, match="more than 1000 members"):
        for n in range(1_001):
            decoder.feed(b'data: {"choices":[],"m%d":1}\n\n' % n)


LONG = "k" * 1_000_000


def _template(text: str) -> Template:
    return Template(text, frozenset({"prompt"}))


QUOTED: dict[str, Callable[[], object]] = {
    **{
        f"a member: {face.__name__}": partial(
            lambda face: face().decode_request(
                b'{"model":"m","max_tokens":1,"input":[{"%b":1}],"messages":[{"role":"user",'
                b'"content":[{"%b":1}],"%b":[1]}],"tools":[{"type":"%b"}]}' % ((LONG.encode(),) * 4)
            ),
            face,
        )
        for face in (OpenAIChatFormat, AnthropicMessagesFormat, OllamaChatFormat, ResponsesFormat)
    },
    "a role": lambda: ChatRequest.of([{"role": LONG, "content": "x"}]),
    "an unknown key": lambda: parse_recipe(f"{LONG} = 1", "a.toml"),
    "a wrong value": lambda: parse_recipe(f"[models]\ndefault = 1\n[auth]\n{LONG}.a = 1", "a.toml"),
    "a file's name": lambda: parse_recipe("a = 1", LONG),
    "not TOML": lambda: parse_recipe(f"a = {LONG}", "a.toml"),
    "a placeholder": lambda: _template(f"{{{LONG}}}"),
    "a function": lambda: _template(f"{{jso:{LONG}}}"),
    "a header": lambda: CompiledStep(Step("/", headers={LONG + "\n": "a"}), ()),
    "a path": lambda: CompiledStep(Step(LONG), ()),
    "a host": lambda: Endpoint.of(f"https://{LONG}\n/"),
    "a port": lambda: Endpoint.of(f"https://a:{LONG}/"),
    "a model": lambda: Catalog([Service("s", ScriptedProvider(), ["m"])]).resolve(LONG),
    "a pointer": lambda: get_at({}, parse_pointer("~" + LONG)),
    "a member of a whole answer": lambda: read_object(f'"{LONG}"'.encode(), LONG),
}


@pytest.mark.parametrize("refuse", QUOTED.values(), ids=QUOTED)
def test_what_an_error_quotes_is_bounded(refuse: Callable[[], object]) -> None:
    """A name of a megabyte is shown in part, in the message and as the member that is wrong."""
    with pytest.raises(BerlinError) as caught:
        refuse()
    assert len(caught.value.message) <= MAX_MESSAGE_CHARS
    assert len(getattr(caught.value, "param", None) or "") <= MAX_MESSAGE_CHARS
