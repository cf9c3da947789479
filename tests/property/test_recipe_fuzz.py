"""Whatever a recipe says, it is a recipe that reads every answer, or a ConfigurationError."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from berlin.errors import BerlinError, ConfigurationError, InvalidRequestError, ProtocolError
from berlin.formats.contract import Format, SessionFormat
from berlin.recipes.recipe import Recipe, parse_recipe
from berlin.types import (
    ChatRequest,
    FilePart,
    HttpRequest,
    HttpResponse,
    ImagePart,
    Message,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from berlin.types.socket import SocketDialog
from support.described import describe

BOUNDED = settings(max_examples=200, suppress_health_check=[HealthCheck.filter_too_much])
LONGEST_S = 5.0

BERLIN = resources.files("berlin.recipes").joinpath("shipped", "berlin.toml").read_text()
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
headers = { X-A = "{uuid4}", X-B = "{hmac_sha256:{sid}:{method}{path}{body}}", X-C = "{nonce}" }
let = { nonce = "{random_hex:8}" }
json = { messages = "{messages}", sys = "{system}", more = { n = 1 } }
options = "/more"
rename = { max_tokens = "n" }
[chat.messages]
form = "array"
item = { who = "{role}", what = "{text}" }
roles = { user = "human" }
system = "apart"

[[chat.prepare]]
path = "/c"
method = "PUT"
form = { a = "b{now:%Y}" }
take = { conv = "/id", h = { header = "X-H" }, f = { pointer = "/f", decode = "url", at = "/g" } }

[[chat.prepare]]
path = "{f}"
once = true
take = { conversation_id = "/id" }

[[chat.after]]
path = "/c/{conv}/close"
method = "DELETE"
""",
    auth="""
[auth]
flow = "login"
attach = [{ cookie = "sid", prefix = "x" }, { header = "X-Sid", value = "{sid}/{unix}" }]
let = { n = "{uuid4}" }

[[auth.steps]]
path = "/login"
method = "GET"
take = { csrf = { field = "_csrf" }, state = { script = "window.s", at = "/x" } }

[[auth.steps]]
path = "/login"
json = { a = "{account}", p = "{password}", c = "{csrf}", t = "{totp}", n = "{n}" }
success = [302, 303]
refused_at = "/login"
follow = true
take = { token = "/token", expires_in = "/in", sid = { cookie = "sid", decode = "base64url" } }
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
SOCKET = describe(
    """
framing = "ndjson"
text = ["/data/?isInput=false/t", "/parts/*/t", "/parts/-1", "/parts"]
padding = "\\u0000"
text_of = "/data/id"
kind = "/event"
kinds = { tok = "text", all = "replace", 3 = "end" }
error = "/data/?isError=true/why"
ends = "finish_reason"
""",
    """
path = "/ws/{hash}"
query = { EIO = "4" }
json = { event = "ask", data = { q = "{prompt}", h = "{hello}", n = "{history}" } }
[[chat.prepare]]
path = "/join"
take = { hash = "/id" }
[chat.socket]
protocol = "socket.io"
auth = { id = "{uuid4}" }
only = { "/data/id" = "{uuid4}" }
last = { event = "bye" }
close_codes = { 4001 = "authentication" }
[[chat.socket.before]]
when = { "/event" = "hello" }
take = { hello = "/data/x" }
send = { event = "hi", args = ["{hello}"] }
[[chat.socket.replies]]
when = { "/event" = "ping" }
send = { event = "pong" }
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
PARTS = describe(
    """
framing = "connect"
text = "/t"
tool_calls = "/calls"
finish_reason = "/why"
""",
    """
path = "/chat"
json = { m = "{messages}", tools = "{tools}", choice = "{tool_choice}", all = "{files}" }
[[chat.upload]]
path = "/files/{size}"
kinds = ["image"]
multipart = { file = "{file}", name = "{name}" }
take = { file_id = "/id" }
[[chat.upload]]
path = "/files/{file_id}"
kinds = ["image"]
method = "PUT"
json = { kind = "{media_type}", data = "{base64}", url = "{data_url}" }
take = { put_url = "/f" }
[[chat.upload]]
path = "{put_url}"
kinds = ["image"]
method = "PUT"
body = "{file}"
headers = { Content-Type = "{media_type}" }
success = [200, 204]
credentials = false
[chat.messages]
form = "array"
item = { who = "{role}", what = "{parts}" }
[chat.messages.parts]
text = { t = "{text}" }
image = { id = "{file_id}", link = "{url}" }
file = { name = "{name}", data = "{base64}" }
call = { name = "{name}", input = "{input}", text = "{arguments}" }
result = { name = "{name}", got = "{text}", id = "{id}" }
tool = { name = "{name}", why = "{description}", form = "{parameters}" }
""",
    more="""
[keep_alive]
path = "/me"
method = "POST"
json = { a = 1 }
every_s = 60
for_s = 600
""",
)
TAGGED = describe(
    """
framing = "tagged-lines"
text = "/data"
kind = "/event"
kinds = { 0 = "text", g = "reasoning", all = "replace", d = "final", 3 = "error" }
others = "skip"
""",
    """
path = "/tagged"
method = "PUT"
json = { q = "{prompt}" }
options = "ignore"
drop = ["top_p"]
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
TREES = [tomllib.loads(text) for text in (BERLIN, FULL, SOCKET, POLLED, PARTS, TAGGED, EXTENDING)]


def parsed(text: str) -> Recipe | None:
    """Return the recipe, or `None` for a ConfigurationError; it must not take long."""
    recipe, said = None, "mine.toml"
    try:
        recipe = parse_recipe(text, "mine.toml")
    except ConfigurationError as error:
        said = error.message
    assert said.startswith("mine.toml")
    return recipe


TURNS = (
    Message("user", (TextPart("x"), ImagePart("data:image/png;base64,aGk="))),
    Message("assistant", (ToolCallPart("c1", "find", '{"a":1}'),)),
    Message("tool", (ToolResultPart("c1", "y"),)),
    Message("user", (FilePart("data:text/plain;base64,aGk=", "a.txt"),)),
)


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
        ChatRequest(TURNS, tools=(Tool("find", "Finds", '{"type":"object"}'),)),
    ):
        body = b'{"id":"i","a":1,"f":"%7B%22g%22%3A%22/u%22%7D"}'
        answer = HttpResponse(200, {"x-h": "1"}, {"sid": "2"}, body)
        try:
            last = sent_with(chat, request, answer)
        except (InvalidRequestError, ProtocolError):
            continue
        assert ".." not in last.path.split("/")
        if last.socket is not None:
            play(last.socket())
    decoder = chat.decoder()
    decoder.feed(b'{"t":"x","data":{"t":1}}\n\ndata: {"t":[]}\n\n0:"x"\nd:{}\n[1,')
    decoder.finish()
    assert len(chat.describe_error(b'{"message":"x"}')) <= 300


def play(dialog: SocketDialog) -> None:
    """Say something on the socket of a recipe: what it answers is text, or an error of ours."""
    try:
        dialog.begin()
        for frame in (
            '0{"sid":"a"}',
            "40",
            '42["hello",{"x":"y"}]',
            '42["tok",{"t":"a"}]',
            "{}",
            "2",
        ):
            dialog.receive(frame)
    except BerlinError:
        pass
    dialog.end()
    dialog.closed(1000, "")


def sent_with(chat: Format, request: ChatRequest, answer: HttpResponse) -> HttpRequest:
    """Return the request of a chat in which all steps before it get this answer."""
    if isinstance(chat, SessionFormat):
        exchange = chat.encode_with(request, dict.fromkeys(chat.session_names, "s1"))
    else:
        exchange = chat.encode_request(request)
    try:
        next(exchange)
        while True:
            exchange.send(answer)
    except StopIteration as done:
        last: HttpRequest = done.value
        return last


# Trees

NAMES = sorted({name for tree in TREES for name in tree})
WORDS = (
    *("", "/", "/a", "/a/b", "/a/0", "/0/a", "~", "/~", "a", "{prompt}", "{messages}", "{text}"),
    *("{model}", "{conv}", "{nobody}", "{{prompt}}", "x{prompt}y", "/{model}", "https://{model}/"),
    *("described", "openai-chat", "anthropic-messages", "ollama-chat", "none", "login", "api-key"),
    *("{sid}", "{token}", "{sha256:{prompt}}", "{now:%Y}", "{unix:x}", "{{a}}", "{null}", "{f}/a"),
    *(
        "/*/t",
        "/?a=b/t",
        "/?a",
        "/a/*",
        "/a/-1",
        "socket.io",
        "signalr",
        "graphql",
        "{hello}",
        "{history}",
    ),
    *("ndjson", "sse", "json", "text", "sse-text", "array", "last", "apart", "skip", "error"),
    *("final", "replace", "tagged-lines", "length-prefixed", "multipart", "ignore"),
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
        *("let", "after", "once", "follow", "success", "refused_at", "hosts", "field", "meta"),
        *("socket", "protocol", "before", "replies", "only", "when", "send", "last", "text_of"),
        *(
            "script",
            "at",
            "decode",
            "pointer",
            "value",
            "prefix",
            "body",
            "credentials",
            "padding",
            "origin",
        ),
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


@settings(BOUNDED, max_examples=200)
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
    recipe = parsed(
        "\n".join(f"{json.dumps(name)} = {toml(value)}" for name, value in tree.items())
    )
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
        st.tuples(
            st.floats(0, 1), st.integers(0, 12), st.sampled_from(PIECES) | st.text(max_size=5)
        ),
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
