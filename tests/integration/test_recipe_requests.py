"""What a recipe sends: bodies, URLs and headers with placeholders, mistakes and options."""

from __future__ import annotations

import json
import re
from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from berlin import ChatRequest, errors
from berlin.errors import InvalidRequestError
from berlin.recipes.recipe import parse_recipe
from support.described import (
    body_of,
    describe,
    open_provider,
    refused_for,
    scripted,
    sent_for,
    tell,
)
from support.fault_steps import answer, stream
from support.oauth_service import FlowService, reply
from support.recipes import PLAIN_CHAT, recipe_of

TRICKY = 'a&b=c+d %41 "q" ;\r\n--x\r\n\u20ac\U0001f600'
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


# Bodies


async def test_a_body_of_json(tmp_path: Path) -> None:
    """The body is what the recipe has, with values for its placeholders."""
    chat = """
path = "/chat"
[chat.json]
q = "{prompt}"
m = "<{model}>"
id = "{uuid4}"
n = 0.5
deep = [{ x = true }, "{model}"]
"""
    seen = await sent_for(tmp_path, chat, TRICKY, model="swift")
    assert (seen.method, seen.headers["content-type"]) == ("POST", "application/json")
    body = json.loads(seen.body)
    assert UUID.fullmatch(body.pop("id"))
    assert body == {"q": TRICKY, "m": "<swift>", "n": 0.5, "deep": [{"x": True}, "swift"]}


async def test_a_body_that_is_a_form(tmp_path: Path) -> None:
    """A form carries text and numbers."""
    chat = 'path = "/chat"\nform = { q = "{prompt}", "m&" = "{model}", n = 0.5, empty = "" }'
    seen = await sent_for(tmp_path, chat, TRICKY, model="s w")
    assert seen.headers["content-type"] == "application/x-www-form-urlencoded"
    fields = parse_qsl(seen.body.decode(), keep_blank_values=True, strict_parsing=True)
    assert fields == [("q", TRICKY), ("m&", "s w"), ("n", "0.5"), ("empty", "")]


async def test_a_body_of_several_parts(tmp_path: Path) -> None:
    """Multipart fields come out as they went in, whatever the text holds."""
    chat = 'path = "/chat"\nmultipart = { q = "{prompt}", "na\\"me" = "x", n = 3 }'
    seen = await sent_for(tmp_path, chat, TRICKY)
    head = f"Content-Type: {seen.headers['content-type']}\r\n\r\n".encode()
    parts = message_from_bytes(head + seen.body, policy=HTTP)
    assert not parts.defects
    boundary = seen.headers["content-type"].partition("boundary=")[2].encode()
    bodies = [part.partition(b"\r\n\r\n")[2] for part in seen.body.split(b"--" + boundary)[1:-1]]
    assert bodies == [f"{TRICKY}\r\n".encode(), b"x\r\n", b"3\r\n"]
    names = [part.get_param("name", header="content-disposition") for part in parts.iter_parts()]
    assert names == ["q", "na%22me", "n"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_methods(method: str, tmp_path: Path) -> None:
    """Each method is sent as the recipe names it, without a body if there is none."""
    chat = f'path = "/chat"\nmethod = "{method}"\nquery = {{ q = "{{prompt}}" }}'
    seen = await sent_for(tmp_path, chat)
    assert (seen.method, seen.target, seen.body) == (method, "/chat?q=Hi", b"")
    assert "content-type" not in seen.headers


async def test_what_has_no_value_is_left_out(tmp_path: Path) -> None:
    """A placeholder without a value takes its member with it: in body, query and headers."""
    chat = """
path = "/chat"
query = { c = "{conversation_id}" }
headers = { X-C = "{conversation_id}" }
[chat.json]
q = "{prompt}"
c = "{conversation_id}"
at = { c = "{conversation_id}" }
l = ["{parent_id}"]
e = {}
"""
    seen = await sent_for(tmp_path, chat)
    assert json.loads(seen.body) == {"q": "Hi", "e": {}}
    assert seen.target == "/chat"
    assert "x-c" not in seen.headers
    seen = await sent_for(tmp_path, chat, conversation_id="c1", parent_id="p1")
    assert json.loads(seen.body) == {"q": "Hi", "c": "c1", "at": {"c": "c1"}, "l": ["p1"], "e": {}}
    assert (seen.target, seen.headers["x-c"]) == ("/chat?c=c1", "c1")


# URLs and headers

EVIL = [
    "../admin",
    "a/../../b",
    "%2e%2e",
    "%2F..%2F",
    "?admin=1",
    "#top",
    "a b",
    "a;b",
    "a\\b",
    "//evil.example/",
    "http://evil.example/",
    "@evil.example",
    "\r\nX-Injected: 1\r\n\r\n",
    "\n",
    "\0",
    "\u00e9\u20ac\U0001f600",
    "\u2100",
    "\u2024\u2024/x",
    "%",
    "{model}",
    "+",
]
IN_PATH = 'path = "/v1/{conversation_id}/ask"\njson = { q = "{prompt}" }'
IN_QUERY = 'path = "/ask"\nquery = { c = "{conversation_id}", d = "x" }\njson = { q = "{prompt}" }'


@pytest.mark.parametrize("evil", EVIL)
async def test_d07_a_value_in_the_path(evil: str, tmp_path: Path) -> None:
    """A value stays one segment of the path, and comes out as it went in."""
    seen = await sent_for(tmp_path, IN_PATH, conversation_id=evil)
    assert "x-injected" not in seen.headers
    parts = urlsplit(seen.target)
    assert (parts.query, parts.fragment) == ("", "")
    segments = parts.path.split("/")
    assert len(segments) == 4
    assert [unquote(segment) for segment in segments] == ["", "v1", evil, "ask"]


@pytest.mark.parametrize(("first", "second"), [(".", ""), ("..", ""), (".", "."), ("", "..")])
async def test_d07_dots_in_the_path(first: str, second: str, tmp_path: Path) -> None:
    """A value that would lead upwards is refused: `%2E%2E` means the same as `..` to a server."""
    chat = IN_PATH.replace("{conversation_id}", "{conversation_id}{parent_id}")
    request = ChatRequest.of("Hi", conversation_id=first, parent_id=second)
    await refused_for(tmp_path, chat, request)


@pytest.mark.parametrize("evil", EVIL)
async def test_d07_a_value_in_the_query(evil: str, tmp_path: Path) -> None:
    """A value stays one parameter, and comes out as it went in."""
    seen = await sent_for(tmp_path, IN_QUERY, conversation_id=evil)
    assert "x-injected" not in seen.headers
    path, _, query = seen.target.partition("?")
    assert path == "/ask"
    assert parse_qsl(query, strict_parsing=True, separator="&") == [("c", evil), ("d", "x")]


IN_HEADER = """
path = "/ask"
headers = { X-Conversation = "c={conversation_id}" }
json = { q = "{prompt}" }
"""


@pytest.mark.parametrize("evil", ["a\r\nX-Injected: 1", "a\nb", "a\rb", "a\0b", "\r\n\r\nGET /"])
async def test_d07_line_breaks_in_a_header(evil: str, tmp_path: Path) -> None:
    """A value with a line break is refused, and nothing is sent."""
    request = ChatRequest.of("Hi", conversation_id=evil)
    said = await refused_for(tmp_path, IN_HEADER, request)
    assert "X-Conversation" in said
    assert "line break" in said


@pytest.mark.parametrize("place", [IN_PATH, IN_QUERY, IN_HEADER])
async def test_d07_half_a_surrogate_pair(place: str, tmp_path: Path) -> None:
    """What UTF-8 cannot carry is refused, and nothing is sent."""
    await refused_for(tmp_path, place, ChatRequest.of("Hi", conversation_id="a\ud800b"))


async def test_d07_other_characters_in_a_header(tmp_path: Path) -> None:
    """A header carries what is no line break as UTF-8."""
    seen = await sent_for(tmp_path, IN_HEADER, conversation_id="\u00e9\u20ac: x")
    assert seen.headers["x-conversation"].encode("latin-1").decode() == "c=\u00e9\u20ac: x"


@pytest.mark.parametrize("path", ["{model}", "chat", "{model}/chat", ".evil.example/", "@evil"])
def test_d07_a_path_that_could_change_the_host(path: str) -> None:
    """A path begins with a slash: else it would be a part of the host's name."""
    with pytest.raises(errors.ConfigurationError, match="path"):
        parse_recipe(describe(chat=f'path = "{path}"\njson = {{ q = "{{prompt}}" }}'), "x.toml")


@pytest.mark.parametrize("path", ["https://{model}.example/x", "{model}://x", "ftp://x.example/y"])
def test_d07_a_url_whose_host_is_not_written_out(path: str) -> None:
    """A whole URL names its host, and is one that can be asked."""
    with pytest.raises(errors.ConfigurationError):
        parse_recipe(describe(chat=f'path = "{path}"\njson = {{ q = "{{prompt}}" }}'), "x.toml")


async def test_a_whole_url(tmp_path: Path) -> None:
    """A step may ask another host, with all of its URL."""
    async with scripted(tmp_path / "..", describe(), stream(b'{"t":"there"}\n')) as (other, _):
        chat = f'path = "{other.url}/v1/{{model}}/"\njson = {{ q = "{{prompt}}" }}'
        async with scripted(tmp_path, describe(chat=chat), answer("200 OK")) as (server, berlin):
            assert (await tell(berlin, "Hi", model="a/b")).text == "there"
    assert server.requests == []
    assert other.requests[0].target == "/v1/a%2Fb/"


HEADERS = """
path = "/chat"
json = { q = "{prompt}" }
headers = { content-type = "application/json; v=2", accept = "*/*", user-agent = "x/{model}" }
"""


async def test_headers_of_the_chat(tmp_path: Path) -> None:
    """A header of the recipe takes the place of ours, however it is written."""
    async with FlowService() as service:
        service.answers["/chat"] = [reply({"t": "ok"})]
        async with open_provider(tmp_path, describe(chat=HEADERS), service.url) as berlin:
            assert (await tell(berlin, "Hi", model="m")).text == "ok"
    [seen] = service.seen
    sent = [(name.lower(), value) for name, value in seen.headers.items()]
    for wanted in (("content-type", "application/json; v=2"), ("accept", "*/*")):
        assert [one for one in sent if one[0] == wanted[0]] == [wanted]
    assert [one for one in sent if one[0] == "user-agent"] == [("user-agent", "x/m")]


@pytest.mark.parametrize(
    ("chat", "said"),
    [
        ('json = { q = "Hi" }', "{prompt}"),
        ('json = { q = "{prompt}" }\nmessages = { form = "array" }', "{messages}"),
        ('json = { q = "{messages}" }', "{prompt}"),
        ('json = { q = "{prompt}" }\nmessages = { system = "apart" }', "{system}"),
        (
            'json.q = "{messages}"\nmessages = { form = "array", item = { role = "{role}" } }',
            '"{text}"',
        ),
        ('json = { q = "{prompt}" }\nform = { q = "{prompt}" }', "both json and form"),
        ('json = { q = "{prompt}" }\nmessages = { templates = { user = "x" } }', "{text} once"),
        ('form = { q = "{prompt}", stream = true }', "stream"),
        ('form = { q = "{messages}" }\nmessages = { form = "array" }', "form"),
        ('json = { q = "{prompt}" }\nheaders = { "X Y" = "1" }', "X Y"),
        ('json = { q = "{prompt}" }\nheaders = { X = "a\\nb" }', "X"),
        ('json = { q = "{prompt}" }\noptions = "/settings"', "/settings"),
        ('json = { q = "{prompt}" }\noptions = "/q"', "/q"),
        ('query = { q = "{prompt}" }\noptions = ""', "body"),
    ],
)
def test_a_request_that_cannot_work(chat: str, said: str) -> None:
    """A description that no request could be sent by is told when the recipe is read."""
    with pytest.raises(errors.ConfigurationError) as caught:
        parse_recipe(describe(chat=f'path = "/chat"\n{chat}'), "mine.toml")
    assert caught.value.message.startswith("mine.toml, line ")
    assert said in caught.value.message


# Options


async def test_options_and_their_names(tmp_path: Path) -> None:
    """Options stand where the pointer says, by the service's names, over the defaults there."""
    chat = """
path = "/chat"
json = { q = "{prompt}", config = { deep = { engine = "{model}", heat = 0.2 } } }
options = "/config/deep"
rename = { max_tokens = "maxOutputTokens", temperature = "heat" }
"""
    body = await body_of(
        tmp_path, chat, "Hi", model="m", max_tokens=5, temperature=0.9, seed=[1], nothing=None
    )
    assert body["config"]["deep"] == {
        "engine": "m",
        "heat": 0.9,
        "maxOutputTokens": 5,
        "seed": [1],
    }
    for name in ("engine",):
        said = await refused_for(tmp_path, chat, ChatRequest.of("Hi", **{name: "x"}))
        assert f"{name} is part of the protocol" in said


async def test_options_in_the_body_itself(tmp_path: Path) -> None:
    """With `options = ""` options stand beside the rest, and cannot replace a placeholder."""
    chat = 'path = "/chat"\njson = { q = "{prompt}", n = 1 }\noptions = ""'
    assert await body_of(tmp_path, chat, "Hi", n=2, top_p=1) == {"q": "Hi", "n": 2, "top_p": 1}
    assert "q is part" in await refused_for(tmp_path, chat, ChatRequest.of("Hi", q="x"))


@pytest.mark.parametrize(
    "body",
    [
        'q = "[INST] {prompt} [/INST]"',
        'q = "{prompt}", again = "{prompt}"',
        'q = { text = "<{prompt}>" }',
        'q = ["{prompt}"]',
    ],
)
async def test_options_replace_no_placeholder(body: str, tmp_path: Path) -> None:
    """A member that holds a placeholder anywhere is no option."""
    chat = f'path = "/chat"\njson = {{ {body} }}\noptions = ""'
    said = await refused_for(tmp_path, chat, ChatRequest.of("Hi", q="x"))
    assert "q is part of the protocol" in said


async def test_options_where_the_object_was_left_out(tmp_path: Path) -> None:
    """An object of options that holds nothing else this time takes options all the same."""
    chat = """
path = "/chat"
json = { q = "{prompt}", more = { c = "{conversation_id}" } }
options = "/more"
"""
    assert await body_of(tmp_path, chat, "Hi", seed=1) == {"q": "Hi", "more": {"seed": 1}}


async def test_options_of_a_form(tmp_path: Path) -> None:
    """A form takes options that are text or numbers."""
    chat = 'path = "/chat"\nform = { q = "{prompt}" }\noptions = ""'
    seen = await sent_for(tmp_path, chat, seed=1)
    assert seen.body == b"q=Hi&seed=1"
    assert "seed" in await refused_for(tmp_path, chat, ChatRequest.of("Hi", seed=[1]))


async def test_no_options(tmp_path: Path) -> None:
    """Without a place for them, options are refused by name."""
    chat = 'path = "/chat"\njson = { q = "{prompt}" }'
    said = await refused_for(tmp_path, chat, ChatRequest.of("Hi", seed=1))
    assert "takes no options" in said
    assert "seed" in said


async def test_an_option_to_drop_is_left_out() -> None:
    """What `drop` names is left out of the request and noted; other options are refused still."""
    format = recipe_of({**PLAIN_CHAT, "drop": ["temperature"]}).format()
    with pytest.raises(StopIteration) as sent:
        next(format.encode_request(ChatRequest.of("Hi", temperature=0, max_tokens=5)))
    assert sent.value.value.dropped == ("temperature",)
    with pytest.raises(StopIteration) as sent:
        next(format.encode_request(ChatRequest.of("Hi", user="ann")))
    assert sent.value.value.dropped == ("user",)
    with pytest.raises(InvalidRequestError, match="takes no options, but top_p"):
        next(format.encode_request(ChatRequest.of("Hi", temperature=0, top_p=1)))
