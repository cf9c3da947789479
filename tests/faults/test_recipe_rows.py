"""Rows D06 and D07 of the faults for every key of a recipe that reads an answer or carries text."""

from __future__ import annotations

import pytest

from berlin.errors import InvalidRequestError
from berlin.formats.described.format import MappedFormat
from berlin.language.values.place import Place
from berlin.recipes.recipe import parse_recipe
from berlin.types import ChatRequest, HttpRequest, HttpResponse, Message, TextPart
from support.described import PROMPT, describe
from support.line_steps import count_lines

PLACES = {
    "field": (Place(field="csrf"), "<form><input name='csrf' "),
    "meta": (Place(meta="csrf"), "<meta name='csrf' content="),
    "script": (Place(script="window.s"), "<script>window.s = {'a': "),
    "parameter": (Place(body="text", parameter="code"), "https://a/?code&"),
    "at": (Place(body="text", at="/a"), '{"a":['),
    "base64url": (Place(body="text", decode="base64url"), "a-_="),
    "pointer": (Place(pointer="/a/*/b/?c=d/-1"), '{"a":'),
}
STREAMS = {
    "many items": ('framing = "json"\ntext = "/a/*/t"', '{"a":[%s0]}', '{"t":"x"},'),
    "lists of lists": ('framing = "json"\ntext = "/a/*/*/*/t"', '{"a":[%s[]]}', '[[{"t":"x"}]],'),
    "a condition": ('framing = "json"\ntext = "/a/?k=v/t"', '{"a":[%s0]}', '{"k":"w","t":"x"},'),
    "the last item": ('framing = "ndjson"\ntext = "/a/-1"', "%s", '{"a":["x"]}\n'),
    "padding": ('framing = "ndjson"\ntext = "/t"\npadding = "~"', '{"t":"%s"}\n', "~a"),
    "a prefix": ('framing = "ndjson"\ntext = "/t"\nprefix = "for(;;);"', "%s", "for(;;);"),
    "messages": (
        'framing = "ndjson"\ntext = "/t"\ntext_of = "/id"\ntext_is = "cumulative"',
        "%s",
        '{"t":"x","id":"a"}\n',
    ),
    "an answer again": (
        'framing = "tagged-lines"\ntext = "/data"\nkind = "/event"\n'
        'kinds = { a = "replace", d = "final" }',
        '%sd:"x"\n',
        'a:"x"\n',
    ),
}


@pytest.mark.parametrize("key", PLACES)
def test_D06_a_page_cannot_make_a_place_slow(key: str) -> None:
    """Twice the page takes about twice the steps, whatever in it begins and never ends."""
    place, piece = PLACES[key]

    def find(times: int) -> None:
        body = (piece * times).encode()
        place.find(HttpResponse(200, {}, {}, body), {"a": [{"b": {"c": "d"}}] * times}, {})

    once, twice = (count_lines(find, size) for size in (500, 1_000))
    assert twice <= 2.3 * once + 500


@pytest.mark.parametrize("key", STREAMS)
def test_D06_an_answer_cannot_make_a_pointer_slow(key: str) -> None:
    """Twice the answer takes about twice the steps."""
    described, whole, piece = STREAMS[key]
    recipe = parse_recipe(describe(described, PROMPT), "mine.toml")

    def read(times: int) -> None:
        decoder = recipe.format().decoder()
        decoder.feed((whole % (piece * times)).encode())
        decoder.finish()

    read(10)
    once, twice = (count_lines(read, size) for size in (500, 1_000))
    assert twice <= 2.3 * once + 500


EVIL = "../a b?c#d%2e&e=\r\nX-Evil: 1\r\n\r\nGET /"
CHATS = {
    "path": 'path = "/c/{conversation_id}"\njson = { q = "{prompt}" }',
    "query": 'path = "/c"\nquery = { q = "{conversation_id}" }\njson = { q = "{prompt}" }',
    "headers": 'path = "/c"\nheaders = { X-C = "{conversation_id}" }\njson = { q = "{prompt}" }',
    "let": 'path = "/c"\nlet = { a = "{conversation_id}" }\nheaders = { X-C = "{a}" }\n'
    'json = { q = "{prompt}" }',
    "form": 'path = "/c"\nform = { q = "{prompt}", c = "{conversation_id}" }',
    "multipart": 'path = "/c"\nmultipart = { q = "{conversation_id}", p = "{prompt}" }',
    "after": 'path = "/c"\njson = { q = "{prompt}" }\n'
    '[[chat.after]]\npath = "/c/{conversation_id}"',
    "prepare": 'path = "/c"\njson = { q = "{prompt}" }\n'
    '[[chat.prepare]]\npath = "/c/{conversation_id}"\nheaders = { X-C = "{conversation_id}" }',
    "socket": 'path = "/c/{conversation_id}"\njson = { q = "{prompt}" }\n[chat.socket]\n'
    'protocol = "json"',
}


@pytest.mark.parametrize("key", CHATS)
def test_D07_what_a_user_sends_stays_in_its_place(key: str) -> None:
    """It is one segment of a path, one parameter, one field; a header with it is never sent."""
    recipe = parse_recipe(describe('framing = "ndjson"\ntext = "/t"', CHATS[key]), "mine.toml")
    chat = recipe.format()
    assert isinstance(chat, MappedFormat)
    request = ChatRequest((Message("user", (TextPart(EVIL),)),), conversation_id=EVIL)
    sent: list[HttpRequest] = []
    try:
        exchange = chat.encode_request(request)
        sent.append(next(exchange))
        while True:
            sent.append(exchange.send(HttpResponse(200, {}, {}, b"{}")))
    except InvalidRequestError:
        assert sent == []
        assert "headers" in CHATS[key]
    except StopIteration as done:
        sent += [done.value, *done.value.after]
        for call in sent:
            path, _, query = call.path.partition("?")
            assert path.count("/") <= 2
            assert not set("\r\n #") & set(call.path)
            assert query.count("=") + query.count("&") <= 1
            assert not [v for v in call.headers.values() if "\r" in v or "\n" in v]
