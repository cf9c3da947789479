"""What an answer may look like in the recipe language, by services of real sockets."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from berlin import errors
from berlin.recipes.recipe import parse_recipe
from berlin.types import Usage
from support.described import PROMPT, describe, scripted, tell, told_by
from support.fault_steps import LAST_CHUNK, Send, WaitFor, begin_stream, chunk, stream

CAFE = "Caf\u00e9 \u2028\U0001f600"


def data(document: Any, event: str = "") -> bytes:
    """Return one server-sent event."""
    name = f"event: {event}\n" if event else ""
    text = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
    return f"{name}data: {text}\n\n".encode()


def lines(*documents: Any) -> bytes:
    """Return documents one a line."""
    return b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in documents)


FRAMINGS = {
    "ndjson": ("/t", lines({"t": "Hello, "}, {"x": 1, "t": CAFE}, {"t": ""})),
    "sse": ("/t", b": hi\n\n" + data({"t": "Hello, "}) + data({"t": CAFE}) + data("[DONE]")),
    "sse-events": ("/data/t", data({"t": "Hello, "}, "token") + data({"t": CAFE}, "token")),
    "sse-text": ("", data("Hello, ") + data(CAFE) + data("[DONE]")),
    "json": ("/c/0/t", json.dumps({"c": [{"t": "Hello, " + CAFE}]}, indent=1).encode()),
    "tagged-lines": ("/data", b'0:"Hello, "\n0:' + lines(CAFE)),
    "json-array": ("/t", b'[ {"t":"Hello, "}\n,\r\n' + lines({"t": CAFE}) + b"]\n"),
    "text": ("", f"Hello, {CAFE}".encode()),
}


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("size", [1, 5, 10_000])
async def test_each_framing(framing: str, size: int, tmp_path: Path) -> None:
    """Each framing gives the text, wherever the service cuts its bytes."""
    at, body = FRAMINGS[framing]
    table = f'framing = "{framing}"' + (f'\ntext = "{at}"' if at else "")
    told = await told_by(tmp_path, table, *(body[n : n + size] for n in range(0, len(body), size)))
    assert told.text == "Hello, " + CAFE
    assert told.end.reason == "stop"


@pytest.mark.parametrize("framing", [name for name in FRAMINGS if name != "json"])
async def test_text_comes_at_once(framing: str, tmp_path: Path) -> None:
    """What is whole is handed on while the service still writes; only `json` has to wait."""
    first = {
        "ndjson": lines({"t": "first"}),
        "sse": data({"t": "first"}),
        "sse-events": data({"t": "first"}, "token"),
        "sse-text": data("first"),
        "tagged-lines": b'0:"first"\n',
        "json-array": b'[{"t":"first"},',
        "text": b"first",
    }[framing]
    second = first.replace(b"[", b"").replace(b"},", b"}]").replace(b"first", b" second")
    at, _ = FRAMINGS[framing]
    recipe = describe(f'framing = "{framing}"' + (f'\ntext = "{at}"' if at else ""))
    go_on = asyncio.Event()
    script = (*begin_stream(first), WaitFor(go_on), Send(chunk(second) + LAST_CHUNK))
    async with scripted(tmp_path, recipe, script) as (_, berlin):
        pieces = []
        async with asyncio.timeout(30):
            async for piece in berlin.text("Hi"):
                pieces.append(piece)
                go_on.set()
    assert pieces == ["first", " second"]


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("ndjson", b'{"t":"Hello"}\n{"t":"wo'),
        ("sse", data({"t": "Hello"}) + b'data: {"t":"wo'),
        ("sse-events", data({"data": 1}, "x") + b'data: {"t":"wo'),
        ("json", b'{"t":"wo'),
        ("json-array", b'[{"t":"Hello"},{"t":"wo'),
        ("json-array", b'[{"t":"Hello"},'),
        ("json-array", b'[{"t":"Hello"}'),
    ],
)
async def test_a_body_that_ends_in_the_middle(framing: str, body: bytes, tmp_path: Path) -> None:
    """An answer that is cut off says so, after what was whole."""
    table = f'framing = "{framing}"\ntext = "/t"\nothers = "skip"'
    told = await told_by(tmp_path, table, body)
    told.failed_with(errors.TruncatedStreamError, after="Hello" if b"Hello" in body else "")


async def test_text_that_is_no_utf8(tmp_path: Path) -> None:
    """Plain text has to be UTF-8: what came before is handed on, then there is an error."""
    for framing, body in (("text", b"Hello\xff!"), ("sse-text", data("Hello") + b"data: \xff\n\n")):
        told = await told_by(tmp_path, f'framing = "{framing}"', body)
        told.failed_with(errors.ProtocolError, after="Hello")


@pytest.mark.parametrize(
    "more",
    [
        'text = "/t"',
        'text_is = "cumulative"',
        'kind = "/data"\nkinds = { a = "text" }',
    ],
)
def test_plain_text_has_nothing_but_text(more: str) -> None:
    """Of plain text nothing can be described that depends on how the network cuts it."""
    with pytest.raises(errors.ConfigurationError):
        parse_recipe(describe(f'framing = "text"\n{more}'), "mine.toml")


async def test_sse_text_of_several_lines(tmp_path: Path) -> None:
    """Lines of one event's data are lines of the text."""
    told = await told_by(
        tmp_path, 'framing = "sse-text"', b"data: one\ndata: two\n\n", b"data:  three\n\n"
    )
    assert told.text == "one\ntwo three"


@pytest.mark.parametrize(
    ("wholes", "pieces"),
    [
        (["He", "Hello", "Hello", "Hello, Ann"], ["He", "llo", ", Ann"]),
        # It shrinks: a part that comes once more takes nothing back.
        (["Hello", "He", "", "Hello, Ann"], ["Hello", ", Ann"]),
        (["", "Hello"], ["Hello"]),
    ],
)
async def test_cumulative_text(wholes: list[str], pieces: list[str], tmp_path: Path) -> None:
    """Of a text that is sent anew each time only what is new is handed on."""
    table = 'framing = "ndjson"\ntext = "/t"\ntext_is = "cumulative"'
    told = await told_by(tmp_path, table, *(lines({"t": text}) for text in wholes))
    assert told.pieces == pieces
    assert told.end.reason == "stop"


@pytest.mark.parametrize(
    "wholes", [["Thinking…", "42."], ["As [source]", "As [1] it is."], ["How to:", "No.", "No!"]]
)
async def test_text_that_is_rewritten(wholes: list[str], tmp_path: Path) -> None:
    """A whole answer is the last text, and a stream ends with an error: never a mixture."""
    table = 'framing = "ndjson"\ntext = "/t"\ntext_is = "cumulative"'
    body = b"".join(lines({"t": text}) for text in wholes)
    async with scripted(tmp_path, describe(table), stream(body, headers=())) as (_, berlin):
        assert (await berlin.ask("Hi")).text == wholes[-1]
    async with scripted(tmp_path, describe(table), stream(body, headers=())) as (_, berlin):
        shown = []
        with pytest.raises(errors.RewrittenError):
            async for piece in berlin.text("Hi"):
                shown.append(piece)
    assert shown == wholes[:1]


KINDS = """
framing = "ndjson"
text = "/t"
kind = "/k"
kinds = { add = "text", whole = "replace", think = "reasoning", bye = "end", bad = "error" }
error_message = "/why"
error_code = "/code"
input_tokens = "/cost/in"
ends = "finish_reason"
"""


async def test_kinds(tmp_path: Path) -> None:
    """A word says what each object is for; kinds that are not listed are skipped."""
    told = await told_by(
        tmp_path,
        KINDS,
        lines({"k": "think", "t": "Hm"}, {"k": "add", "t": "Hello"}, {"k": "ping", "t": "no"}),
        lines({"k": "ping", "t": {"of": ["another", "form"]}}, {"k": "ping", "why": "nothing"}),
        lines({"k": "whole", "t": "Hello, Ann"}, {"k": "add", "t": "!"}),
        lines({"k": "whole", "t": "Hello"}, {"k": "bye", "t": "!", "cost": {"in": 7}}),
    )
    assert (told.text, told.pieces) == ("Hello, Ann!!", ["Hello", ", Ann", "!", "!"])
    assert told.reasoning == "Hm"
    assert told.end.reason == "stop"
    assert told.usage == Usage(7, lacks="output_tokens")


async def test_kinds_without_an_end(tmp_path: Path) -> None:
    """With `ends = "finish_reason"` an answer without an object of the kind `end` was cut off."""
    told = await told_by(tmp_path, KINDS, lines({"k": "add", "t": "Hello"}))
    told.failed_with(errors.TruncatedStreamError, after="Hello")


@pytest.mark.parametrize(
    ("bad", "said", "kind"),
    [
        ({"k": "bad", "why": "no quota left"}, "no quota left", errors.ServiceError),
        ({"k": "bad", "why": "slow", "code": 404}, "slow", errors.RequestRejectedError),
        ({"k": "bad", "t": {"of": "another form"}, "why": "oops"}, "oops", errors.ServiceError),
        ({"k": "bad", "t": ["no", "words"]}, "words", errors.ServiceError),
    ],
)
async def test_a_kind_that_is_an_error(
    bad: Any, said: str, kind: type[errors.BerlinError], tmp_path: Path
) -> None:
    """An object of the kind `error` ends the answer, whatever form its data has."""
    told = await told_by(
        tmp_path, KINDS, lines({"k": "add", "t": "Hello"}, bad, {"k": "add", "t": "never"})
    )
    assert said in told.failed_with(kind, after="Hello")


EVENTS = """
framing = "sse-events"
text = "/data/t"
kind = "/event"
kinds = { message = "text", oops = "error", done = "end" }
error_message = "/data/why"
ends = "finish_reason"
"""


async def test_names_of_events_as_kinds(tmp_path: Path) -> None:
    """The name of a server-sent event is a kind like any other."""
    told = await told_by(
        tmp_path,
        EVENTS,
        data({"t": "Hel"}, "message"),
        data({"t": "lo"}),  # an event without a name is a `message`
        data([1, 2], "status") + data("null", "status") + data("3", "status"),
        data({"other": "form"}, "done"),
    )
    assert told.text == "Hello"


async def test_data_that_is_no_json_in_an_event_that_is_skipped(tmp_path: Path) -> None:
    """Words as the data of an event of another kind do no harm."""
    told = await told_by(
        tmp_path,
        EVENTS,
        data({"t": "Hello"}) + data("still here", "heartbeat"),
        data("good bye", "done"),
    )
    assert told.text == "Hello"


async def test_data_that_is_no_json_in_an_event_that_is_an_error(tmp_path: Path) -> None:
    """Words as the data of an error are the error."""
    told = await told_by(tmp_path, EVENTS, data({"t": "Hello"}), data("no quota left", "oops"))
    assert "no quota left" in told.failed_with(errors.ServiceError, after="Hello")


async def test_data_that_is_no_json_in_an_event_of_text(tmp_path: Path) -> None:
    """Words where an object should be are no answer."""
    told = await told_by(tmp_path, EVENTS, data({"t": "Hello"}), data("words"))
    assert "words" in told.failed_with(errors.ProtocolError, after="Hello")


async def test_other_objects(tmp_path: Path) -> None:
    """An object in which nothing described is found is an error, or is skipped."""
    body = lines({"t": "Hel"}, {"status": "busy"}, {"t": "lo"})
    for others, text in (("error", "Hel"), ("skip", "Hello")):
        told = await told_by(
            tmp_path, f'framing = "ndjson"\ntext = "/t"\nothers = "{others}"', body
        )
        if others == "error":
            assert "neither text nor" in told.failed_with(errors.ProtocolError, after=text)
        else:
            assert told.text == text


async def test_others_with_kinds(tmp_path: Path) -> None:
    """With `others = "skip"` an object without a kind is skipped too."""
    table = 'framing = "ndjson"\ntext = "/t"\nkind = "/k"\nkinds = { a = "text" }\nothers = "skip"'
    told = await told_by(tmp_path, table, lines({"k": "a", "t": "Hello"}, {"status": "busy"}))
    assert told.text == "Hello"


@pytest.mark.parametrize(
    ("done", "mark"), [("[DONE]", "[DONE]"), ("<end>", "<end>"), ('{"over":1}', '{"over":1}')]
)
async def test_the_mark_of_the_end(done: str, mark: str, tmp_path: Path) -> None:
    """The mark ends the answer: it counts as a finish reason, and nothing behind it is read."""
    table = f"framing = 'sse'\ntext = '/t'\ndone = '{done}'\nends = 'finish_reason'"
    body = data({"t": "Hello"}) + data(mark)
    assert (await told_by(tmp_path, table, body, data({"t": "more"}))).text == "Hello"
    told = await told_by(tmp_path, table, data({"t": "Hello"}))
    told.failed_with(errors.TruncatedStreamError, after="Hello")


async def test_no_mark_at_all(tmp_path: Path) -> None:
    """With `done = ""` no data ends the answer: `[DONE]` is data as any other."""
    table = 'framing = "sse-text"\ndone = ""'
    assert (await told_by(tmp_path, table, data("[DONE]"), data("Hello"))).text == "[DONE]Hello"


async def test_a_document_instead_of_a_stream(tmp_path: Path) -> None:
    """A whole JSON answer where events were described is read by the same pointers."""
    table = 'framing = "sse"\ntext = "/t"\nerror = "/error"'
    told = await told_by(tmp_path, table, b'\n{\n "t":', b' "Hello"\n}\n')
    assert told.text == "Hello"
    told = await told_by(tmp_path, table, b'{"error": "no quota left"}')
    assert "no quota left" in told.failed_with(errors.ServiceError)


async def test_a_page_instead_of_an_answer(tmp_path: Path) -> None:
    """A page of HTML with status 200 is an error that shows its beginning."""
    for framing in ("ndjson", "sse", "sse-events", "json", "json-array"):
        told = await told_by(
            tmp_path, f'framing = "{framing}"\ntext = "/t"', b"<html>Please log in</html>"
        )
        assert "Please log in" in told.failed_with(errors.ProtocolError)


async def test_an_empty_answer(tmp_path: Path) -> None:
    """A body without anything is an error, in each framing."""
    for framing, (at, _) in FRAMINGS.items():
        table = f'framing = "{framing}"' + (f'\ntext = "{at}"' if at else "")
        for parts in ((), (b"\n\n",)):
            if framing == "text" and parts:
                continue  # two line ends are a text
            told = await told_by(tmp_path, table, *parts)
            assert isinstance(told.error, errors.ProtocolError), (framing, parts, told)


async def test_the_connection_is_used_again_after_the_mark(tmp_path: Path) -> None:
    """A service that ends its body a moment after the mark does not cost a new connection."""
    recipe = describe('framing = "sse"\ntext = "/t"', PROMPT)
    read = asyncio.Event()
    script = (
        *begin_stream(data({"t": "Hello"}) + data("[DONE]")),
        WaitFor(read),
        Send(LAST_CHUNK),
    )
    async with scripted(tmp_path, recipe, script) as (server, berlin):
        for _ in range(3):
            read.clear()
            pieces = []
            async for piece in berlin.text("Hi"):
                pieces.append(piece)
                asyncio.get_running_loop().call_later(0.01, read.set)
            assert pieces == ["Hello"]
        assert len(server.connections) == 1
        # A service that never ends it costs a connection, and no time.
        read.clear()
        async with asyncio.timeout(30):
            assert (await tell(berlin)).text == "Hello"
        assert await server.connections[0].left_by_client()
