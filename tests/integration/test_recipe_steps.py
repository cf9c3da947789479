"""Requests before a chat, and services that are asked until they are ready."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from berlin import Timeouts, errors
from support.chat_service import no_new_tasks
from support.described import ANN, LINES, LOGIN, PATIENT, below, describe, scripted, tell
from support.fault_steps import Hang, Script, Send, answer, begin_stream, head, stream

HELLO = stream(b'{"t":"Hello"}\n')

CONVERSATION = """
path = "/c/{conv}/ask"
json = { prompt = "{prompt}", conversation = "{conv}" }

[[chat.prepare]]
path = "/c"
json = { model = "{model}" }
take = { conv = "/data/0/id" }
"""


def given(document: Any, *headers: str, status: str = "200 OK") -> Script:
    """Answer with a document."""
    return answer(status, json.dumps(document).encode(), *headers)


async def test_a_conversation_is_made_first(tmp_path: Path) -> None:
    """A value that one step takes is a placeholder of what comes later, a number stays one."""
    recipe = describe(chat=CONVERSATION)
    made = given({"data": [{"id": 17}]})
    async with scripted(tmp_path, recipe, made, HELLO) as (server, berlin):
        assert (await tell(berlin, "Hi", model="swift")).text == "Hello"
    first, second = server.requests
    assert (first.method, below(first)) == ("POST", "/c")
    assert json.loads(first.body) == {"model": "swift"}
    assert below(second) == "/c/17/ask"
    assert json.loads(second.body) == {"prompt": "Hi", "conversation": 17}


SUBMIT = """
path = "/queue/{event}"
method = "GET"
headers = { X-Event = "{event}", X-Seed = "{seed}" }
query = { session = "{session}" }

[[chat.prepare]]
path = "/start"
method = "GET"
take = { session = { cookie = "sid" }, seed = { header = "X-Seed" } }

[[chat.prepare]]
path = "/submit"
form = { text = "{prompt}", seed = "{seed}" }
take = { event = "/event_id" }
"""


async def test_submit_and_then_read(tmp_path: Path) -> None:
    """An id that a POST gives names the stream of a GET; cookies stay between the steps."""
    table = 'framing = "sse-events"\ntext = "/data/0"'
    scripts = (
        given({}, "Set-Cookie: sid=s1; Path=/", "Set-Cookie: lang=de", "X-Seed: 42"),
        given({"event_id": "e/1"}, "Set-Cookie: lang=en"),
        stream(b'event: x\ndata: ["Hello"]\n\n'),
    )
    async with scripted(tmp_path, describe(table, SUBMIT), *scripts) as (server, berlin):
        assert (await tell(berlin)).text == "Hello"
    start, submit, read = server.requests
    assert (start.method, start.body, start.headers.get("cookie")) == ("GET", b"", None)
    assert submit.body == b"text=Hi&seed=42"
    assert submit.headers["cookie"] == "sid=s1; lang=de"
    assert (read.method, read.body) == ("GET", b"")
    assert below(read) == "/queue/e%2F1?session=s1"
    assert read.headers["cookie"] == "sid=s1; lang=en"
    assert (read.headers["x-event"], read.headers["x-seed"]) == ("e/1", "42")


async def test_cookies_of_steps_beside_a_token_that_is_a_cookie(tmp_path: Path) -> None:
    """A token in a cookie does not push out the cookies that the steps set."""
    auth = '[auth]\nflow = "api-key"\nattach = { cookie = "key" }\n'
    recipe = describe(chat=SUBMIT, auth=auth)
    scripts = (
        given({}, "Set-Cookie: sid=s1", "X-Seed: 42"),
        given({"event_id": "e1"}),
        HELLO,
    )
    async with scripted(tmp_path, recipe, *scripts, api_key="k1") as (server, berlin):
        assert (await tell(berlin)).text == "Hello"
    sent = [sorted(seen.headers.get("cookie", "").split("; ")) for seen in server.requests]
    assert sent == [["key=k1"], ["key=k1", "sid=s1"], ["key=k1", "sid=s1"]]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "/c gave no conv at /data/0/id"),
        ({"data": []}, "/c gave no conv at /data/0/id"),
        ({"data": [{"id": None}]}, "/c gave no conv at /data/0/id"),
        ([], "the answer to /c: expected a JSON object, got '[]'"),
    ],
)
async def test_a_value_that_is_missing(document: Any, said: str, tmp_path: Path) -> None:
    """A value that is not there, or null, ends the request; the pointer is told."""
    recipe = describe(chat=CONVERSATION)
    async with scripted(tmp_path, recipe, given(document), HELLO) as (server, berlin):
        told = await tell(berlin)
    assert told.failed_with(errors.ProtocolError) == said
    assert len(server.requests) == 1


async def test_a_header_and_a_cookie_that_are_missing(tmp_path: Path) -> None:
    """A header or a cookie that is not there is told by its name."""
    for headers, said in (
        (("X-Seed: 42",), "/start gave no session at the cookie sid"),
        (("Set-Cookie: sid=s1",), "/start gave no seed at the header X-Seed"),
    ):
        async with scripted(tmp_path, describe(chat=SUBMIT), given({}, *headers)) as (_, berlin):
            told = await tell(berlin)
        assert told.failed_with(errors.ProtocolError) == said


@pytest.mark.parametrize("value", [True, {"a": 1}, ["x"]])
async def test_a_value_that_is_no_name_in_a_url(value: Any, tmp_path: Path) -> None:
    """Only text and numbers make a part of a URL; anything else ends the request."""
    recipe = describe(chat=CONVERSATION)
    made = given({"data": [{"id": value}]})
    async with scripted(tmp_path, recipe, made, HELLO) as (server, berlin):
        told = await tell(berlin)
    told.failed_with(errors.ProtocolError)
    assert len(server.requests) == 1


async def test_a_page_instead_of_json(tmp_path: Path) -> None:
    """A step that answers with a page is an error that shows its beginning."""
    recipe = describe(chat=CONVERSATION)
    async with scripted(tmp_path, recipe, answer("200 OK", b"<html>Hi</html>")) as (_, berlin):
        told = await tell(berlin)
    assert "expected JSON, got '<html>Hi</html>'" in told.failed_with(errors.ProtocolError)


async def test_a_step_that_fails(tmp_path: Path) -> None:
    """A bad status of a step ends the request, in the service's words."""
    recipe = describe(LINES + '\nerror_message = "/why"', CONVERSATION)
    async with scripted(tmp_path, recipe, given({"why": "no such model"}, status="404 No")) as (
        server,
        berlin,
    ):
        told = await tell(berlin)
    message = told.failed_with(errors.RequestRejectedError)
    assert message == "the service answers 404: no such model"
    assert len(server.requests) == 1


async def test_a_step_that_refuses_the_token(tmp_path: Path) -> None:
    """A 401 in a preparing step leads to one login and to all steps again."""
    recipe = describe(chat=CONVERSATION, auth=LOGIN)
    made = given({"data": [{"id": 1}]})
    scripts = (given({"token": "t1"}), answer("401 No"), given({"token": "t2"}), made, HELLO)
    async with scripted(tmp_path, recipe, *scripts, **ANN) as (server, berlin):
        assert (await tell(berlin)).text == "Hello"
    paths = [below(seen) for seen in server.requests]
    assert paths == ["/login", "/c", "/login", "/c", "/c/1/ask"]
    assert [seen.headers.get("token") for seen in server.requests] == [None, "t1", None, "t2", "t2"]


async def test_a_chat_that_refuses_the_token_is_prepared_again(tmp_path: Path) -> None:
    """After a new login the steps run again: their values belonged to the old token."""
    recipe = describe(chat=CONVERSATION, auth=LOGIN)
    scripts = (
        given({"token": "t1"}),
        given({"data": [{"id": 1}]}),
        answer("401 No"),
        given({"token": "t2"}),
        given({"data": [{"id": 2}]}),
        HELLO,
    )
    async with scripted(tmp_path, recipe, *scripts, **ANN) as (server, berlin):
        assert (await tell(berlin)).text == "Hello"
    assert [below(seen) for seen in server.requests][-2:] == ["/c", "/c/2/ask"]
    assert json.loads(server.requests[-1].body)["conversation"] == 2


async def test_what_cannot_be_asked_prepares_nothing(tmp_path: Path) -> None:
    """A request that the service cannot be asked is refused before any step."""
    recipe = describe(chat=CONVERSATION)
    async with scripted(tmp_path, recipe, given({"data": [{"id": 1}]}), HELLO) as (server, berlin):
        for options in ({"temperature": 1}, {"tools": "x"}):
            told = await tell(berlin, "Hi", **options)
            told.failed_with(errors.InvalidRequestError)
    assert server.requests == []


async def test_a_step_that_hangs_is_left(tmp_path: Path) -> None:
    """The limits hold for steps; the connection is closed."""
    more = {"timeouts": {**PATIENT, "first_event": 0.3}}
    recipe = describe(chat=CONVERSATION)
    async with scripted(tmp_path, recipe, (Hang(),), **more) as (server, berlin):
        told = await tell(berlin)
        told.failed_with(errors.UpstreamTimeoutError)
        assert await server.connections[0].left_by_client()


POLLED = """
framing = "json"
text = "/answer"
finish_reason = "/state"
unfinished = ["queued", "running"]
error = "/failed"
ends = "finish_reason"
"""
ASK = 'path = "/jobs/{job}"\nmethod = "GET"\npoll_s = 0.05\n'
JOB = (
    ASK
    + """
[[chat.prepare]]
path = "/jobs"
json = { prompt = "{prompt}" }
take = { job = "/id" }
"""
)


async def test_polling(tmp_path: Path) -> None:
    """The same request is sent until the answer has a finish reason, over one connection."""
    scripts = (
        given({"id": "j1"}),
        given({"state": "queued"}),
        given({"state": "running", "answer": None}, status="202 Accepted"),
        answer("200 OK", b'{\n "state": "running",\r\n "answer": ""\n}\n'),
        given({"state": "done", "answer": "Hello"}),
    )
    async with scripted(tmp_path, describe(POLLED, JOB), *scripts) as (server, berlin):
        told = await tell(berlin)
        assert (told.text, told.end.reason) == ("Hello", "stop")
        assert len(server.connections) == 1
    assert [below(seen) for seen in server.requests] == ["/jobs", *["/jobs/j1"] * 4]


async def test_polling_a_text_that_grows(tmp_path: Path) -> None:
    """Each answer with the text so far hands on what is new."""
    scripts = (
        given({"id": 1}),
        given({"state": "running", "answer": "Hel"}),
        given({"state": "running", "answer": "Hello"}),
        given({"state": "done", "answer": "Hello!"}),
    )
    table = POLLED + 'text_is = "cumulative"\n'
    async with scripted(tmp_path, describe(table, JOB), *scripts) as (_, berlin):
        assert (await tell(berlin)).pieces == ["Hel", "lo", "!"]


@pytest.mark.parametrize("pending", [b"", b"\n", b"{}", b'{"position": 3}'])
async def test_pending_answers_that_say_nothing(pending: bytes, tmp_path: Path) -> None:
    """With `others = "skip"` an answer that says nothing means: not yet."""
    scripts = (
        given({"id": 1}),
        answer("200 OK", pending),
        given({"state": "done", "answer": "Hello"}),
    )
    table = POLLED + 'others = "skip"\n'
    async with scripted(tmp_path, describe(table, JOB), *scripts) as (_, berlin):
        assert (await tell(berlin)).text == "Hello"


async def test_polling_that_fails(tmp_path: Path) -> None:
    """An error among the answers ends the polling."""
    scripts = (given({"id": 1}), given({"state": "queued"}), given({"failed": "no memory"}))
    async with scripted(tmp_path, describe(POLLED, JOB), *scripts) as (server, berlin):
        told = await tell(berlin)
    assert "no memory" in told.failed_with(errors.ServiceError)
    assert len(server.requests) == 3


async def test_polling_that_never_ends(tmp_path: Path) -> None:
    """A service that is never ready runs into the limit of the request."""
    scripts = (given({"id": 1}), given({"state": "queued"}))
    async with scripted(tmp_path, describe(POLLED, JOB), *scripts) as (server, berlin):
        told = await tell(berlin, timeout=Timeouts(connect=5, first_event=1.0, idle=9, total=9))
    told.failed_with(errors.UpstreamTimeoutError)
    assert 3 <= len(server.requests) <= 22


async def test_a_token_that_expires_while_polling(tmp_path: Path) -> None:
    """A 401 among the answers leads to one login; what was handed on is not asked again."""
    recipe = describe(POLLED, JOB, auth=LOGIN)
    scripts = (
        given({"token": "t1"}),
        given({"id": 1}),
        given({"state": "queued"}),
        answer("401 No"),
        given({"token": "t2"}),
        given({"id": 2}),
        given({"state": "done", "answer": "Hello"}),
    )
    async with scripted(tmp_path, recipe, *scripts, **ANN) as (server, berlin):
        assert (await tell(berlin)).text == "Hello"
    assert len(server.requests) == 7


async def test_cancelled_in_a_pause(tmp_path: Path) -> None:
    """A request that is cancelled between two questions leaves nothing behind."""
    recipe = describe(POLLED, JOB.replace("0.05", "30"))
    scripts = (given({"id": 1}), given({"state": "queued"}))
    async with no_new_tasks(), scripted(tmp_path, recipe, *scripts) as (server, berlin):
        asking = asyncio.create_task(tell(berlin))
        async with asyncio.timeout(30):
            while len(server.requests) < 2:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # the answer is read: the pause has begun
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert len(server.requests) == 2
        await berlin.aclose()
        assert await server.connections[0].left_by_client()


async def test_cancelled_in_a_step(tmp_path: Path) -> None:
    """A request that is cancelled while a step is under way closes its connection."""
    recipe = describe(chat=CONVERSATION)
    script = (Send(head("200 OK", "Content-Length: 100") + b"{"), Hang())
    async with scripted(tmp_path, recipe, script) as (server, berlin):
        asking = asyncio.create_task(tell(berlin))
        async with asyncio.timeout(30):
            while not server.requests:
                await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await server.connections[0].left_by_client()


async def test_left_after_the_first_text(tmp_path: Path) -> None:
    """Who leaves after the first text closes the connection, also after steps."""
    recipe = describe(chat=CONVERSATION)
    scripts = (given({"data": [{"id": 1}]}), (*begin_stream(b'{"t":"Hello"}\n'), Hang()))
    async with scripted(tmp_path, recipe, *scripts) as (server, berlin):
        pieces = berlin.text("Hi")
        assert await anext(pieces) == "Hello"
        await pieces.aclose()
        assert await server.connections[0].left_by_client()
