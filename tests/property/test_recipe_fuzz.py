"""Whatever a recipe says, it is a recipe that reads every answer, or a ConfigurationError."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Iterator
from importlib import resources
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from berlin.errors import BerlinError, ConfigurationError, InvalidRequestError
from berlin.providers.recipe import Recipe, parse_recipe
from berlin.types import (
    ChatRequest,
    Finished,
    HttpResponse,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from berlin.wire.framing import Framing
from berlin.wire.mapped_encoder import MappedEncoder
from berlin.wire.mapped_stream import MappedDecoder
from berlin.wire.stream_map import CompiledStream, StreamMap
from support.described import describe

BOUNDED = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)
LONGEST_S = 5.0

BERLIN = resources.files("berlin.providers").joinpath("recipes", "berlin.toml").read_text()
FULL = describe(
    """
framing = "sse-events"
text = ["/data/t", "/data/c/0/t"]
text_is = "cumulative"
reasoning = "/data/r"
kind = "/event"
kinds = { add = "text", think = "reasoning", bye = "end", oops = "error" }
others = "skip"
done = "[END]"
finish_reason = "/data/why"
finish_reasons = { max = "length" }
unfinished = ["busy"]
input_tokens = "/data/u/in"
tool_calls = "/data/calls"
tool_call = { name = "/fn" }
conversation_id = "/data/cid"
error = "/data/error"
error_code = "/data/code"
error_codes = { E1 = "rate_limit" }
unauthorized = [401, "E2"]
""",
    """
path = "/c/{conv}/ask"
query = { m = "{model}" }
headers = { X-A = "{uuid4}" }
json = { messages = "{messages}", sys = "{system}", more = { n = 1 } }
options = "/more"
rename = { max_tokens = "n" }
messages = { form = "array", item = { who = "{role}", what = "{text}" }, roles = { user = "human" }, system = "apart" }

[[chat.prepare]]
path = "/c"
method = "PUT"
form = { a = "b" }
take = { conv = "/id", h = { header = "X-H" } }
""",
    auth="""
[auth]
flow = "login"
attach = { cookie = "sid", prefix = "x" }

[[auth.steps]]
path = "/login"
json = { a = "{account}", p = "{password}" }
take = { token = "/token", expires_in = "/in" }
""",
    more="""
[models]
default = "a"
list = ["a", "b"]
aliases = { x = "a" }
capabilities = ["tools"]
fetch = { path = "/m", list = "/data" }
""",
)
POLLED = describe(
    'framing = "json"\ntext = "/t"\nfinish_reason = "/s"',
    """
path = "/p"
poll_s = 1
form = { q = "{prompt}", c = "{conversation_id}" }
messages = { form = "last", templates = { user = "<u>{text}</u>" }, end = "<a>" }
options = ""
""",
)
EXTENDING = """
schema = 1
name = "mine"
description = "Like Berlin"
extends = "berlin"
[chat.json]
lang = "de"
[chat.stream]
error = "/oops"
[auth]
flow = "oauth2"
grant = "client_credentials"
token_url = "/token"
"""
TREES = [tomllib.loads(text) for text in (BERLIN, FULL, POLLED, EXTENDING)]


def parsed(text: str) -> Recipe | None:
    """Return the recipe, or `None` for a ConfigurationError; it must not take long."""
    began = time.monotonic()
    recipe: Recipe | None = None
    try:
        recipe = parse_recipe(text, "mine.toml")
    except ConfigurationError as error:
        assert error.message.startswith("mine.toml"), error.message
    assert time.monotonic() - began < LONGEST_S
    return recipe


def try_out(recipe: Recipe) -> None:
    """Ask by a recipe that was taken: what it sends is bytes, or an error of the request."""
    chat = recipe.format()
    for request in (
        ChatRequest.of("Hi"),
        ChatRequest.of(
            [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}],
            model="m/..",
            conversation_id="../c",
            temperature=1,
        ),
    ):
        exchange = chat.encode_request(request)
        try:
            next(exchange)
            for _ in range(len(recipe.chat.prepare)):
                exchange.send(HttpResponse(200, {"x-h": "1"}, {"sid": "2"}, b'{"id":"i","a":1}'))
        except StopIteration as done:
            assert isinstance(done.value.body, bytes)
            assert ".." not in done.value.path.split("/")
        except BerlinError as error:
            assert not isinstance(error, ConfigurationError)
    decoder = chat.decoder()
    decoder.feed(b'{"t":"x","data":{"t":1}}\n\ndata: {"t":[]}\n\n[1,')
    decoder.finish()
    assert len(chat.describe_error(b'{"message":"x"}')) <= 300


# Trees

NAMES = sorted({name for tree in TREES for name in tree})
WORDS = (
    *("", "/", "/a", "/a/b", "/a/0", "/0/a", "~", "/~", "a", "{prompt}", "{messages}", "{text}"),
    *("{model}", "{conv}", "{nobody}", "{{prompt}}", "x{prompt}y", "/{model}", "https://{model}/"),
    *("described", "openai-chat", "anthropic-messages", "ollama-chat", "none", "login", "api-key"),
    *("ndjson", "sse", "json", "text", "sse-text", "array", "last", "apart", "skip", "error"),
    *("GET", "berlin", "a\r\nb", "\0", '"', "`", "at `$.x`", "...", "é", "http://x.example", "1"),
)
LEAVES = (
    st.sampled_from(WORDS)
    | st.text(max_size=6)
    | st.integers(-2, 2**63)
    | st.booleans()
    | st.floats()
)
KEYS = st.sampled_from(
    [
        *("schema", "name", "endpoint", "url", "headers", "proxy", "timeouts", "auth", "flow"),
        *("attach", "steps", "chat", "format", "path", "json", "form", "multipart", "prepare"),
        *("poll_s", "messages", "item", "roles", "templates", "between", "options", "rename"),
        *("stream", "framing", "text", "kind", "kinds", "done", "error", "error_codes", "ends"),
        *("take", "header", "cookie", "models", "fetch", "list", "extends", "a", "`", "...", "0"),
    ]
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the paths of all members and items of a tree."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in entries:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def changed(tree: Any, path: tuple[Any, ...], how: str, key: str, value: Any) -> Any:
    """Return a tree with one change at a path."""
    first, *rest = path
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    if rest:
        copy[first] = changed(tree[first], tuple(rest), how, key, value)
    elif how == "drop":
        del copy[first]
    elif how == "replace":
        copy[first] = value
    elif isinstance(copy, dict):
        copy[key] = value
    else:
        copy.append(value)
    return copy


def toml(value: Any) -> str:
    """Return a value as TOML."""
    match value:
        case dict():
            members = ", ".join(f"{json.dumps(key)} = {toml(one)}" for key, one in value.items())
            return "{" + members + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case float():
            return str(value)
        case str():
            return json.dumps(value).replace("\x7f", "\\u007f")
        case _:
            return json.dumps(value)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Draw a recipe with one to three members dropped, replaced or added."""
    tree = draw(st.sampled_from(TREES))
    for _ in range(draw(st.integers(1, 3))):
        paths = list(places(tree))
        assume(paths)
        how = draw(st.sampled_from(["drop", "replace", "add"]))
        tree = changed(tree, draw(st.sampled_from(paths)), how, draw(KEYS), draw(VALUES))
    return "\n".join(f"{json.dumps(name)} = {toml(value)}" for name, value in tree.items())


@settings(BOUNDED, max_examples=500)
@given(mutated())
def test_any_change_of_a_recipe(text: str) -> None:
    """A changed recipe is told as a mistake, or asks and reads as any other."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assume(False)  # lone surrogates
    recipe = parsed(text)
    if recipe is not None:
        try_out(recipe)


@pytest.mark.parametrize("tree", TREES)
def test_the_trees_are_recipes(tree: dict[str, Any]) -> None:
    """These tests begin with recipes that are right."""
    recipe = parsed("\n".join(f"{json.dumps(name)} = {toml(value)}" for name, value in tree.items()))
    assert recipe is not None
    try_out(recipe)


PIECES = (
    *("[", "]", "[[", "]]", "=", ".", ",", "{", "}", '"', "'", '"""', "\n", "\r\n", "#", " ", "\t"),
    *("1", "-", "1e9", "nan", "true", "1979-05-27", "\\u0000", "\\", "é", "a", "chat", "stream"),
)


@BOUNDED
@given(
    st.sampled_from([BERLIN, FULL, EXTENDING]),
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(PIECES) | st.text(max_size=5)),
        min_size=1,
        max_size=4,
    ),
)
def test_any_change_of_the_text(text: str, edits: list[tuple[float, int, str]]) -> None:
    """A text with pieces put in or cut out is no TOML, a mistake, or a recipe."""
    for where, length, piece in edits:
        at = int(where * len(text))
        text = text[:at] + piece + text[at + length :]
    recipe = parsed(text)
    if recipe is not None:
        try_out(recipe)


# Streams

FRAMINGS = get_args(Framing)
SEGMENT = st.sampled_from(["t", "a", "b", "0", "1", "data", "event", "k"])
POINTER = st.lists(SEGMENT, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
POINTERS = st.lists(POINTER, max_size=2)
MEANINGS = st.sampled_from(["text", "replace", "reasoning", "end", "error", "skip"])
STREAMS = st.builds(
    StreamMap,
    st.sampled_from(FRAMINGS),
    POINTERS,
    st.sampled_from(["delta", "cumulative"]),
    POINTERS,
    st.none() | POINTER,
    st.dictionaries(st.sampled_from(["a", "b", "c", "message"]), MEANINGS, max_size=3),
    st.sampled_from(["error", "skip"]),
    st.sampled_from(["", "[DONE]", "end"]),
    POINTERS,
    unfinished=st.lists(st.sampled_from(["", "a"]), max_size=1),
    input_tokens=POINTERS,
    tool_calls=POINTERS,
    conversation_id=POINTERS,
    error=POINTERS,
    error_message=POINTERS,
    error_code=POINTERS,
    error_codes=st.dictionaries(
        st.sampled_from(["1", "a"]), st.sampled_from(["rate_limit", "authentication"]), max_size=1
    ),
    ends=st.sampled_from(["body", "finish_reason"]),
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([0, 1, 401, 500, -1, 1.5, "", "a", "b", "message", "401", "stop"])
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(SEGMENT | st.sampled_from(["id", "index", "function"]), inner, max_size=4)
    ),
    max_leaves=8,
)
CHUNKS = st.one_of(
    JSON.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(
        [
            *(b"\n", b"\n\n", b"\r\n", b"\r", b"data: ", b"data:", b"event: a\n", b"event: b\r\n"),
            *(b": x\n\n", b"[", b"]", b",", b"{", b"}", b'"', b"\\", b" ", b"\xef\xbb\xbf", b"\xff"),
            *(b"data: [DONE]\n\n", b"data: end\n\n", b"\xd0", b"\xbf", b"null\n", b'{"t":"x"}\n'),
            *(b'data: {"t":"x"}\n\n', b'data: {"t":\ndata: "y"}\n\n'),
        ]
    ),
    st.binary(max_size=6),
)
BODIES = st.lists(CHUNKS, max_size=10).map(b"".join)


def compiled(described: StreamMap) -> CompiledStream | None:
    """Return the stream, ready for use, or `None` if the description cannot be right."""
    try:
        return CompiledStream(described)
    except ConfigurationError:
        return None


def outcome(stream: CompiledStream, reads: Iterator[bytes]) -> tuple[Any, ...]:
    """Return what reads come to, in a form in which cuts of the text make no difference."""
    decoder = MappedDecoder(stream)
    events = [event for read in reads for event in decoder.feed(read)]
    events += decoder.finish()
    # A framing without objects gives the text as the reads cut it.
    whole: list[StreamEvent] = []
    for event in events:
        if isinstance(event, TextDelta) and whole and isinstance(whole[-1], TextDelta):
            whole[-1] = TextDelta(whole[-1].text + event.text)
        else:
            whole.append(event)
    failure = decoder.failure
    assert failure is None or isinstance(failure, BerlinError)
    assert failure is not None or isinstance(events[-1], Finished)
    repr(whole).encode()
    return whole, type(failure), str(failure)


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Give the data in reads of these sizes, again and again."""
    n = 0
    while data:
        size = sizes[n % len(sizes)]
        yield data[:size]
        data, n = data[size:], n + 1


@settings(BOUNDED, max_examples=600)
@given(STREAMS, BODIES, st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_any_stream_reads_any_answer(
    described: StreamMap, body: bytes, sizes: list[int]
) -> None:
    """No answer makes a decoder raise, and what comes of it does not depend on the cuts."""
    # How plain text is cut is how it is read: there is nothing else to describe.
    if described.framing == "text":
        described = StreamMap("text", ends=described.ends)
    stream = compiled(described)
    assume(stream is not None)
    assert stream is not None
    at_once = outcome(stream, iter([body]))
    assert outcome(stream, cut(body, sizes)) == at_once
    assert outcome(stream, cut(body, [1])) == at_once


# Both ways

TEXT = st.text(min_size=1, max_size=8)
EVENTS = st.lists(
    st.one_of(
        TEXT.map(TextDelta),
        TEXT.map(ReasoningDelta),
        st.builds(UsageReport, st.builds(Usage, st.integers(0, 99), st.integers(0, 99))),
        st.builds(
            ToolCallDelta,
            st.integers(0, 2),
            st.sampled_from(["", "c1"]),
            st.sampled_from(["find"]),
            st.just("{}"),
        ),
    ),
    max_size=6,
)
ENDS = st.builds(
    Finished, st.sampled_from(["stop", "length"]), st.sampled_from(["", "c1"]), st.just("")
)
# Descriptions in which each thing has a place of its own.
ROOTS = {"sse-events": "/data", "sse-text": "", "text": ""}


@st.composite
def sound(draw: st.DrawFn) -> StreamMap:
    """Draw a description of a service that could be one."""
    framing = draw(st.sampled_from(FRAMINGS))
    if framing in ("text", "sse-text"):
        return StreamMap(framing, done=draw(st.sampled_from(["", "[DONE]"])))
    root = ROOTS.get(framing, "")
    kinds: dict[str, Any] = {}
    if draw(st.booleans()):
        kinds = {"add": draw(st.sampled_from(["text", "replace"])), "bye": "end", "no": "error"}
        if draw(st.booleans()):
            kinds["hm"] = "reasoning"
    whole = draw(st.booleans()) or "replace" in kinds.values()
    return StreamMap(
        framing,
        draw(st.sampled_from([f"{root}/t", f"{root}/c/0/t", f"{root}/a/b/t"])),
        "cumulative" if whole else "delta",
        reasoning=draw(st.sampled_from([[], f"{root}/r"])),
        kind=("/event" if framing == "sse-events" else "/k") if kinds else None,
        kinds=kinds,
        done=draw(st.sampled_from(["", "[DONE]"])),
        finish_reason=draw(st.sampled_from([f"{root}/why", f"{root}/c/0/why", f"{root}/x/why"])),
        finish_reasons={"fin": "stop", "max": "length"},
        input_tokens=f"{root}/u/in",
        output_tokens=f"{root}/u/out",
        conversation_id=f"{root}/cid",
        error=f"{root}/error",
        ends="finish_reason",
    )


def text_of(events: list[StreamEvent]) -> str:
    """Return the text in events."""
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@settings(BOUNDED, max_examples=400)
@given(sound(), EVENTS, ENDS, st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_what_is_encoded_is_decoded(
    described: StreamMap, events: list[StreamEvent], end: Finished, sizes: list[int]
) -> None:
    """decode(encode(events)) has their text, and what else the description has a place for."""
    stream = CompiledStream(described)
    encoder = MappedEncoder(stream)
    body = b"".join(encoder.encode_event(event) for event in [*events, end])
    decoder = MappedDecoder(stream)
    got = [event for read in cut(body, sizes) for event in decoder.feed(read)]
    got += decoder.finish()
    if described.framing in ("text", "sse-text") and not text_of(events):
        return  # nothing can be said on such a wire
    assert decoder.failure is None, (decoder.failure, body)
    assert text_of(got) == text_of(events)
    if described.framing in ("text", "sse-text"):
        return
    assert got[-1] == end
    usage = [event for event in events if isinstance(event, UsageReport)][-1:]
    assert [event for event in got if isinstance(event, UsageReport)] == usage
    if described.framing != "json" and (described.reasoning or "hm" in described.kinds):
        assert [e.text for e in got if isinstance(e, ReasoningDelta)] == [
            e.text for e in events if isinstance(e, ReasoningDelta)
        ]


@BOUNDED
@given(sound(), st.lists(TEXT, max_size=3), TEXT)
def test_an_encoded_error_is_decoded(described: StreamMap, texts: list[str], said: str) -> None:
    """An error after some text comes out as one, after the same text."""
    assume(described.framing not in ("text", "sse-text", "json"))
    stream = CompiledStream(described)
    encoder = MappedEncoder(stream)
    body = b"".join(encoder.encode_event(TextDelta(text)) for text in texts)
    body += encoder.encode_error(InvalidRequestError(said))
    decoder = MappedDecoder(stream)
    got = decoder.feed(body) + decoder.finish()
    assert text_of(got) == "".join(texts)
    assert decoder.failure is not None
    assert decoder.failure.message.startswith("the service reports an error"), body
