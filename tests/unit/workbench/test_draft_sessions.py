"""Sessions of a browser: each value is followed from the response that issued it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from berlin.recipes.recipe import parse_recipe
from berlin.workbench.draft.choose import find_chat
from berlin.workbench.draft.sources.captured import Captured, Exchange
from berlin.workbench.draft.toml_writer import recipe_tree
from berlin.workbench.draft.writer import write_draft

ORIGIN = "https://chat.example.com"
TOKEN = "tok-8f3a1c7e5b9d2046"
SESSION = "sess-4b8e1f6a9c3d7052"
MARK = "mark-7d2e9b4f1a6c8035"
TICKET = "tick-5c9a2e7f4b1d8063"
HTML = {"content-type": "text/html"}
ANSWER = [{"t": "Hello "}, {"t": "to you."}, {"end": "stop"}]


def call(
    method: str,
    path: str,
    body: Any = None,
    answer: Any = b"",
    *,
    sends: dict[str, str] | None = None,
    sets: list[tuple[str, str]] | None = None,
    status: int = 200,
    form: str = "application/x-www-form-urlencoded",
) -> Exchange:
    """Return an exchange; a body that is a text is a form."""
    headers = dict(sends or {})
    data = b""
    if isinstance(body, str):
        headers["Content-Type"], data = form, body.encode()
    elif body is not None:
        headers["Content-Type"], data = "application/json", json.dumps(body).encode()
    match answer:
        case list():
            said = b"".join(json.dumps(item).encode() + b"\n" for item in answer)
        case dict():
            said = json.dumps(answer).encode()
        case str():
            said = answer.encode()
        case _:
            said = answer
    request = Captured(method, ORIGIN + path, tuple(headers.items()), data)
    return Exchange(request, said, status, tuple(sets or ()))


def login(answer: Any = b"", **more: Any) -> Exchange:
    return call("POST", "/login", {"user": "ann", "password": "correct-horse"}, answer, **more)


BEARER = {"Authorization": f"Bearer {TOKEN}"}
COOKIE = {"Cookie": f"sid={SESSION}"}
SETS_SESSION = [("Set-Cookie", f"sid={SESSION}; Path=/")]
FORM = urlencode({"user": "ann", "password": "correct-horse", "csrf_token": MARK})

SESSIONS: dict[str, tuple[list[Exchange], dict[str, Any]]] = {
    "a token that a later request gives": (
        [
            call("GET", "/csrf", answer={"csrfToken": MARK}),
            call("POST", "/login", FORM, {"ok": True}, sets=SETS_SESSION),
            call("GET", "/session", answer={"accessToken": TOKEN}, sends=COOKIE),
            call("POST", "/ask", {"q": "Hello"}, ANSWER, sends=BEARER),
        ],
        {
            "auth.steps.0": {
                "path": "/csrf",
                "method": "GET",
                "take": {"csrf": "/csrfToken"},
            },
            "auth.steps.1.form.csrf_token": "{csrf}",
            "auth.steps.2": {
                "path": "/session",
                "method": "GET",
                "take": {"token": "/accessToken"},
            },
        },
    ),
    "a token and the session's cookie besides": (
        [
            login({"token": TOKEN}, sets=SETS_SESSION),
            call("POST", "/ask", {"q": "Hello"}, ANSWER, sends={**BEARER, **COOKIE}),
        ],
        {
            "auth.attach.1": {"cookie": "*", "value": "{cookies}"},
            "auth.steps.0.take": {"token": "/token", "cookies": {"cookie": "*"}},
        },
    ),
    "a ticket for a token": (
        [
            login({"data": {"ticket": TICKET}}),
            call("POST", "/tokens", {"ticket": TICKET}, {"access_token": TOKEN}),
            call("POST", "/ask", {"q": "Hello"}, ANSWER, sends=BEARER),
        ],
        {
            "auth.steps.0.take": {"made_ticket": "/data/ticket"},
            "auth.steps.1.json": {"ticket": "{made_ticket}"},
        },
    ),
    "a redirect whose end sets the cookie": (
        [
            login(status=302, sets=[("Location", "/welcome?x=1")]),
            call("GET", "/welcome?x=1", answer="<html></html>", sets=SETS_SESSION),
            call("POST", "/ask", {"q": "Hello"}, ANSWER, sends=COOKIE),
        ],
        {"auth.steps.0.follow": True, "auth.attach": {"cookie": "sid"}},
    ),
    "a mark in the page after the login": (
        [
            login(status=302, sets=[*SETS_SESSION, ("Location", "/")]),
            call("GET", "/app", answer=f'<html><meta name="csrf-token" content="{MARK}"></html>'),
            call("POST", "/ask", {"q": "Hello"}, ANSWER, sends={**COOKIE, "X-CSRF-Token": MARK}),
        ],
        {
            "auth.steps.1": {
                "path": "/app",
                "method": "GET",
                "take": {"csrf": {"meta": "csrf-token"}},
            },
            "chat.headers.X-CSRF-Token": "{csrf}",
        },
    ),
    "a mark in a script of the page": (
        [
            call(
                "GET", "/", answer=f'<html><script>window.x = {{"a": {{"csrfToken": "{MARK}"}}}};'
            ),
            login({"token": TOKEN}, sends={"X-CSRF-Token": MARK}),
            call("POST", "/ask", {"q": "Hello"}, ANSWER, sends=BEARER),
        ],
        {
            "auth.steps.0.take": {"csrf": {"script": "csrfToken"}},
            "auth.steps.1.headers": {"X-CSRF-Token": "{csrf}"},
        },
    ),
    "ids of ids": (
        [
            login({"token": TOKEN}),
            call("GET", "/spaces", answer={"spaces": [{"id": "sp-40117"}]}, sends=BEARER),
            call("POST", "/chats", {"space_id": "sp-40117"}, {"chat": {"id": 17}}, sends=BEARER),
            call("POST", "/chats/17/ask", {"q": "Hello"}, ANSWER, sends=BEARER),
        ],
        {
            "chat.prepare.0": {
                "path": "/spaces",
                "method": "GET",
                "take": {"made_id_2": "/spaces/0/id"},
            },
            "chat.prepare.1": {
                "path": "/chats",
                "json": {"space_id": "{made_id_2}"},
                "take": {"made_id": "/chat/id"},
            },
            "chat.path": "/chats/{made_id}/ask",
        },
    ),
    "an answer that another request reads": (
        [
            login({"token": TOKEN}),
            call("POST", "/ask", {"q": "Hello"}, {"event": "ev-71"}, sends=BEARER),
            call("GET", "/events/ev-71", answer=ANSWER, sends=BEARER),
        ],
        {
            "chat.path": "/events/{made_event}",
            "chat.method": "GET",
            "chat.prepare.0": {
                "path": "/ask",
                "json": {"q": "{prompt}"},
                "take": {"made_event": "/event"},
            },
        },
    ),
    "a URL in an answer": (
        [
            call("POST", "/ask", {"q": "Hello"}, {"stream_url": "/s/8812?sig=a1b2"}, sends=BEARER),
            call("GET", "/s/8812?sig=a1b2", answer=ANSWER, sends=BEARER),
        ],
        {"chat.path": "{made_streamurl}", "chat.query": {}},
    ),
    "an id that the client made for two requests": (
        [
            call(
                "POST",
                "/queue/join",
                {"data": ["Hello", None], "fn_index": 2, "session_hash": "y4o0wm8cqu"},
                {"event_id": "9d1c"},
            ),
            call(
                "GET",
                "/queue/data?session_hash=y4o0wm8cqu",
                answer=b"".join(
                    b"data: %s\n\n" % json.dumps(said).encode()
                    for said in (
                        {"msg": "estimation", "rank": 0},
                        {"msg": "process_generating", "output": {"data": ["Good "]}},
                        {"msg": "process_completed", "output": {"data": ["Good day"]}},
                        {"msg": "close_stream"},
                    )
                ),
            ),
        ],
        {
            "chat.let": {"my_sessionhash": "{random_hex:10}"},
            "chat.query": {"session_hash": "{my_sessionhash}"},
            "chat.prepare.0.json": {
                "data": ["{prompt}", "{null}"],
                "fn_index": 2,
                "session_hash": "{my_sessionhash}",
            },
            "chat.stream.text": "/output/data/0",
        },
    ),
    "an answer that is polled": (
        [
            call("POST", "/jobs", {"q": "Hello"}, {"job_id": "job-991"}, sends=BEARER),
            call("GET", "/jobs/job-991", answer={"state": "queued", "text": ""}, sends=BEARER),
            call("GET", "/jobs/job-991", answer={"state": "ready", "text": "Hi Ann"}, sends=BEARER),
        ],
        {
            "chat.poll_s": 1.0,
            "chat.stream.framing": "json",
            "chat.stream.finish_reason": "/state",
            "chat.stream.unfinished": ["queued"],
        },
    ),
    "a setting that an answer lists is no link": (
        [
            login({"token": TOKEN, "version": "2024-10-21", "models": [{"id": "swift-2"}]}),
            call(
                "POST",
                "/v2024-10/ask",
                {"q": "Hello", "model": "swift-2"},
                ANSWER,
                sends={**BEARER, "x-version": "2024-10-21"},
            ),
        ],
        {"chat.json": {"q": "{prompt}", "model": "{model}"}, "chat.prepare": []},
    ),
}


def at(tree: Any, path: str) -> Any:
    """Return the value at a path of a recipe; what has its default is empty."""
    for part in path.split("."):
        tree = tree[int(part)] if isinstance(tree, list) else tree.get(part, {})
    return tree


@pytest.mark.parametrize("name", SESSIONS)
def test_each_value_is_followed(name: str) -> None:
    """To the request that carries it; nothing is missing, and no secret is in the file."""
    exchanges, expected = SESSIONS[name]
    draft = write_draft(exchanges, find_chat(exchanges, "Hello"), "Hello", "draft")
    assert (draft.missing, draft.lost) == ([], []), draft.text
    tree = recipe_tree(parse_recipe(draft.text, "draft.toml"))
    assert {path: at(tree, path) or value for path, value in expected.items()} == expected
    assert [s for s in (TOKEN, SESSION, MARK, TICKET, "horse") if s in draft.text] == []


def test_the_credentials_of_the_login_are_known_but_not_written() -> None:
    """So that the draft can be tried at once."""
    exchanges, _ = SESSIONS["a ticket for a token"]
    draft = write_draft(exchanges, 2, "Hello", "draft")
    assert draft.credentials == {"account": "ann", "password": "correct-horse"}
    assert "horse" not in repr(draft) + draft.text


def test_the_hosts_of_a_login_elsewhere_are_named() -> None:
    """Whoever is asked whether to try the draft sees every host that would get the password."""
    body = json.dumps({"user": "ann", "password": "correct-horse"}).encode()
    headers = (("Content-Type", "application/json"),)
    elsewhere = Captured("POST", "https://login.example.org/token", headers, body)
    exchanges = [
        Exchange(elsewhere, json.dumps({"token": TOKEN}).encode()),
        call("POST", "/ask", {"q": "Hello"}, ANSWER, sends=BEARER),
    ]
    draft = write_draft(exchanges, 1, "Hello", "draft")
    assert draft.origins == [ORIGIN, "https://login.example.org"]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ([{"question": "Hello", "id": "msg-1234567"}, {"reply": "Good day"}], "Good day"),
        ([{"t": "Good"}, {"t": " day"}, {"t": "Good day", "done": True}], "Good day"),
        ([{"t": "Good"}, {"t": " day"}, {"t": "Good day", "type": "final"}], "Good day"),
    ],
)
def test_what_is_no_answer_is_not_taken_as_one(answer: list[Any], text: str) -> None:
    """Neither the prompt that comes back, nor an id, nor the whole text that ends the pieces."""
    draft = write_draft([call("POST", "/ask", {"q": "Hello"}, answer)], 0, "Hello", "draft")
    assert (draft.answer, draft.missing) == (text, [])


@pytest.mark.parametrize(
    ("exchanges", "missing"),
    [
        ([call("POST", "/ask", {"q": "Hello"}, {"event": "ev-71"})], "the text of the answer"),
        ([call("POST", "/ask", {"q": "Hello"}, "<!doctype html><p>")], "a web page"),
        ([call("POST", "/ask", {"q": "Hi"}, ANSWER)], "the prompt is nowhere in the request"),
        (
            [login({"token": "another"}), call("POST", "/ask", {"q": "Hello"}, ANSWER)],
            "carries nothing that the answer to the login gave",
        ),
    ],
)
def test_a_draft_is_left_with_what_is_missing(exchanges: list[Exchange], missing: str) -> None:
    """It says so in its first lines, and has everything that was found."""
    draft = write_draft(exchanges, -1, "Hello", "draft")
    assert missing in " ".join(draft.missing)
    assert f"# Missing: {draft.missing[0]}" in draft.text
    assert 'path = "/ask"' in draft.text


@pytest.mark.parametrize(
    "chat",
    [
        call("POST", "/ask", {"q": "Hello", "_csrf": "abcabcabc"}, ANSWER),
        call("POST", "/ask", {"q": "Hello", "meta": {"xsrfToken": "abcabcabc"}}, ANSWER),
        call("POST", "/ask", {"q": "Hello", "csrf": 123456789}, ANSWER),
        call("POST", "/ask", {"q": "Hello", "meta": '{"csrf": "abcabcabc"}'}, ANSWER),
        call("POST", "/ask", "q=Hello&_csrf=abcabcabc", ANSWER),
        call("POST", "/ask?_csrf=abcabcabc", {"q": "Hello"}, ANSWER),
        call(
            "POST",
            "/ask",
            '--b\r\nContent-Disposition: form-data; name="q"\r\n\r\nHello\r\n--b\r\n'
            'Content-Disposition: form-data; name="_csrf"\r\n\r\nabcabcabc\r\n--b--\r\n',
            ANSWER,
            form="multipart/form-data; boundary=b",
        ),
        call("POST", "/ask", {"q": "Hello"}, ANSWER, sends={"Cookie": "_csrf=abcabcabc"}),
    ],
)
def test_a_csrf_token_that_no_answer_issued(chat: Exchange) -> None:
    """Wherever a request carries it, it is left out, and said to be."""
    draft = write_draft([chat], prompt="Hello")
    assert "abcabcabc" not in draft.text
    assert "123456789" not in draft.text
    assert bool(draft.lost) is not bool(chat.request.cookies)
    assert all(f"Left out: {name}," in draft.text for name in draft.lost)
    parse_recipe(draft.text, "draft.toml")


def test_a_csrf_token_of_a_login_page_that_is_not_recorded() -> None:
    """The form of the login goes without it too."""
    form = urlencode({"user": "ann", "password": "correct-horse", "_csrf": "abcabcabc"})
    session = [
        call("POST", "/login", form, {"token": TOKEN}),
        call("POST", "/ask", {"q": "Hello"}, ANSWER, sends=BEARER),
    ]
    draft = write_draft(session)
    assert draft.lost == ["_csrf"]
    assert "abcabcabc" not in draft.text
    login = parse_recipe(draft.text, "draft.toml").auth.steps[0]  # type: ignore[union-attr]
    assert set(login.form) == {"user", "password"}
