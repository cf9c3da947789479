"""A failed trial names the line of the recipe that is likely wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from berlin.errors import (
    AuthenticationError,
    BerlinError,
    ConnectError,
    EmptyResponseError,
    ProtocolError,
    ServiceError,
    TLSError,
    TruncatedStreamError,
    UpstreamTimeoutError,
)
from berlin.recipes.recipe import Recipe, parse_recipe
from berlin.types import HttpRequest, HttpResponse
from berlin.workbench.diagnose import diagnose
from berlin.workbench.parts import Hint, assign, parts_of
from berlin.workbench.trial import TriedTurn

LOGIN = """
[auth]
flow = "login"
attach = { header = "token" }

[[auth.steps]]
path = "/login"
json = { user = "{account}", password = "{password}" }
take = { token = "/token" }
"""
STREAM = """
[chat.stream]
framing = "sse"
text = "/content"
"""
CHAT = '[chat]\npath = "/ask"\njson = { q = "{prompt}" }\n'
UNREAD = ProtocolError("a line has neither text nor anything else that the recipe describes")


def recipe(stream: str = STREAM, auth: str = LOGIN, chat: str = CHAT) -> Recipe:
    head = 'schema = 1\nname = "x"\ndescription = "x"\n[endpoint]\nurl = "https://x.example"\n'
    return parse_recipe(head + auth + chat + stream, "x.toml")


def turn(
    described: Recipe,
    path: str,
    status: int = 200,
    body: Any = b"",
    headers: dict[str, str] | None = None,
    cookies: dict[str, str] | None = None,
) -> TriedTurn:
    request = HttpRequest("POST", path)
    (part,) = assign(parts_of(described), [request])
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = HttpResponse(status, headers or {}, cookies or {}, data)
    return TriedTurn(part, request, answer, cookies or {}, 0.1)


def hint(described: Recipe, tried: TriedTurn, error: BerlinError | None) -> Hint:
    (found,) = diagnose(described, [tried], error)
    return found


def events(*documents: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(d).encode() + b"\n\n" for d in documents)


@pytest.mark.parametrize(
    ("error", "key"),
    [
        (ConnectError("no"), ("endpoint", "url")),
        (TLSError("no"), ("endpoint", "ca_file")),
        (UpstreamTimeoutError("no"), None),
    ],
)
def test_no_answer_at_all(error: BerlinError, key: tuple[str, ...] | None) -> None:
    """Where nothing answers, the address is likely wrong."""
    found = diagnose(recipe(), [], error)
    assert [h.place for h in found] == ([key] if key else [])


@pytest.mark.parametrize(
    ("path", "status", "place", "said"),
    [
        ("/login", 401, ("auth", "steps", "0"), "password"),
        ("/login", 404, ("auth", "steps", "0", "path"), "POST /login"),
        ("/login", 405, ("auth", "steps", "0", "method"), "405"),
        ("/login", 422, ("auth", "steps", "0", "json"), "members"),
        ("/ask", 401, ("auth", "attach"), "the header token"),
        ("/ask", 403, ("chat", "headers"), "CSRF"),
        ("/ask", 404, ("chat", "path"), "POST /ask"),
        ("/ask", 415, ("chat", "json"), "form"),
        ("/ask", 400, ("chat", "json"), "400"),
        ("/ask", 302, ("chat", "path"), "final"),
    ],
)
def test_statuses(path: str, status: int, place: tuple[str, ...], said: str) -> None:
    """The status of the last answer names the line, by which request it was."""
    described = recipe()
    found = hint(described, turn(described, path, status), ServiceError("no"))
    assert found.place == place
    assert said in found.why


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_services_own_troubles_are_no_mistake_of_the_recipe(status: int) -> None:
    """No line is blamed for a service that is down or busy."""
    described = recipe()
    assert diagnose(described, [turn(described, "/ask", status)], ServiceError("no")) == []


def test_an_unknown_model() -> None:
    """A 404 that speaks of the model blames the model, not the path."""
    described = recipe()
    tried = turn(described, "/ask", 404, {"message": "no such model"})
    assert hint(described, tried, ServiceError("no")).place == ("models", "default")


def test_a_refused_token_without_a_login() -> None:
    """A service that wants a token blames a recipe without a login."""
    described = recipe(auth="")
    found = hint(described, turn(described, "/ask", 401), AuthenticationError("no"))
    assert found.place == ("auth", "flow")


def test_a_status_that_means_a_bad_token() -> None:
    """A status that the recipe lists as a refusal of the token blames how it is attached."""
    described = recipe(auth=LOGIN.replace("[[auth", "rejected_statuses = [403]\n[[auth", 1))
    found = hint(described, turn(described, "/ask", 403), AuthenticationError("no"))
    assert found.place == ("auth", "attach")


def test_a_refused_token_request() -> None:
    """OAuth has no body of its own in the recipe: the grant is blamed."""
    auth = '[auth]\nflow = "oauth2"\ngrant = "client_credentials"\ntoken_url = "/t"\n'
    described = recipe(auth=auth)
    assert hint(described, turn(described, "/t", 400), AuthenticationError("no")).place == (
        "auth",
        "grant",
    )
    found = hint(described, turn(described, "/t", 404), ServiceError("no"))
    assert found.place == ("auth", "token_url")


def test_a_token_that_stands_elsewhere() -> None:
    """The pointers and cookies that a login's answer has are told, but no value of them."""
    described = recipe()
    body = {"session": {"key": "k" * 30}, "user": "ann"}
    tried = turn(described, "/login", 200, body, cookies={"sid": "value-of-sid"})
    found = hint(described, tried, AuthenticationError("no"))
    assert found.place == ("auth", "steps", "0", "take", "token")
    assert "/session/key (30 characters)" in found.why
    assert "the cookie sid" in found.why
    assert "k" * 30 not in found.why
    assert "value-of-sid" not in found.why


def test_a_login_that_is_a_web_page() -> None:
    """A page instead of JSON blames the path."""
    described = recipe()
    tried = turn(described, "/login", 200, b"<!DOCTYPE html><html>")
    assert hint(described, tried, ProtocolError("no")).place == ("auth", "steps", "0", "path")


@pytest.mark.parametrize(
    ("framing", "body", "right"),
    [
        ("ndjson", events({"content": "a"}), '"sse"'),
        ("sse", b'{"content":"a"}\n{"content":"b"}\n', '"ndjson"'),
        ("ndjson", b'{\n  "content": "a"\n}', '"json"'),
        ("sse", b'[{"content":"a"}]', '"json-array"'),
        ("ndjson", b"Hello there", '"text"'),
        ("sse", b"data: Hello\n\ndata: there\n\n", '"sse-text"'),
    ],
)
def test_framings(framing: str, body: bytes, right: str) -> None:
    """A body that another framing would cut names that framing."""
    described = recipe(STREAM.replace("sse", framing))
    found = hint(described, turn(described, "/ask", 200, body), UNREAD)
    assert found.place == ("chat", "stream", "framing")
    assert f"framing = {right}" in found.why


def test_text_that_stands_elsewhere() -> None:
    """The pointer at which the text of the answer stands is told."""
    described = recipe()
    body = events(
        *({"id": "x-1", "choices": [{"delta": {"content": c}}]} for c in ("Hel", "lo", " you"))
    )
    found = hint(described, turn(described, "/ask", 200, body), UNREAD)
    assert found.place == ("chat", "stream", "text")
    assert "text at /choices/0/delta/content" in found.why


def test_text_that_is_an_object() -> None:
    """A pointer that stops above the text is told how to go on."""
    described = recipe()
    body = events({"content": {"parts": ["Hello"]}})
    found = hint(described, turn(described, "/ask", 200, body), UNREAD)
    assert "there is text at /content/parts/0" in found.why


def test_an_object_that_is_not_described() -> None:
    """The pointers of an object that nothing describes are told."""
    described = recipe()
    body = events({"content": "a"}, {"heartbeat": 7})
    found = hint(described, turn(described, "/ask", 200, body), UNREAD)
    assert found.place == ("chat", "stream", "others")
    assert "/heartbeat" in found.why


def test_an_end_that_is_not_known() -> None:
    """A finish reason that stands elsewhere is told; without one, `ends`."""
    described = recipe(STREAM + 'finish_reason = "/why"\nends = "finish_reason"\n')
    cut = TruncatedStreamError("the answer ended without a finish reason")
    body = events({"content": "a"}, {"content": "", "stop_reason": "end"})
    found = hint(described, turn(described, "/ask", 200, body), cut)
    assert found.place == ("chat", "stream", "finish_reason")
    assert "/stop_reason" in found.why
    found = hint(described, turn(described, "/ask", 200, events({"content": "a"})), cut)
    assert found.place == ("chat", "stream", "ends")


def test_kinds_that_are_not_listed() -> None:
    """Kinds that were skipped are told."""
    kinds = 'kind = "/type"\nkinds = { done = "end" }\n'
    described = recipe(STREAM + kinds)
    body = events({"type": "piece", "content": "a"})
    found = hint(described, turn(described, "/ask", 200, body), EmptyResponseError("empty"))
    assert found.place == ("chat", "stream", "kinds")
    assert "piece" in found.why


@pytest.mark.parametrize(
    ("rest", "document", "error", "place", "said"),
    [
        (
            'kind = "/type"\nkinds = { b = "text" }\n',
            {"type": "b", "text": "Hello you"},
            None,
            "text",
            "but text at /text",
        ),
        ("", {"error": {"message": "busy"}}, UNREAD, "error", 'error = "/error/message"'),
        ('done = "END"\n', {"content": "a"}, UNREAD, "done", 'done = "[DONE]"'),
    ],
)
def test_what_was_read_but_not_meant(
    rest: str, document: Any, error: BerlinError | None, place: str, said: str
) -> None:
    """A wrong pointer of a kind, an error without a name, and another mark of the end."""
    described = recipe(STREAM + rest)
    other = events({"type": "a", "content": "Hi"}) if "kind" in rest else b""
    tried = turn(described, "/ask", 200, other + events(document) + b"data: [DONE]\n\n")
    found = hint(described, tried, error)
    assert found.place == ("chat", "stream", place)
    assert said in found.why


def test_an_answer_that_hangs_after_its_text() -> None:
    """An answer whose end is not known blames the mark of the end."""
    described = recipe()
    tried = turn(described, "/ask", 200, events({"content": "a"}, {"content": "b"}))
    found = hint(described, tried, UpstreamTimeoutError("idle"))
    assert found.place == ("chat", "stream", "done")


def test_another_known_format() -> None:
    """An answer in a known format names it."""
    described = recipe(stream="", chat='[chat]\nformat = "openai-chat"\n')
    body = events({"type": "content_block_delta", "delta": {"text": "Hello"}})
    found = hint(described, turn(described, "/chat/completions", 200, body), UNREAD)
    assert found.why == 'the answer looks like format = "anthropic-messages"'


def test_a_good_answer_is_left_alone() -> None:
    """Nothing is blamed when all is well, and an unused pointer is told."""
    described = recipe()
    tried = turn(described, "/ask", 200, events({"content": "Hello"}))
    assert diagnose(described, [tried], None) == []
    described = recipe(STREAM + 'finish_reason = "/why"\n')
    tried = turn(described, "/ask", 200, events({"content": "Hello", "done": True}))
    found = hint(described, tried, None)
    assert found.place == ("chat", "stream", "finish_reason")
    assert "/done" in found.why


def test_an_error_that_the_service_reports_blames_no_line() -> None:
    """A good description of a bad answer is no mistake."""
    described = recipe(STREAM + 'error = "/error"\n')
    tried = turn(described, "/ask", 200, events({"error": "busy"}))
    assert diagnose(described, [tried], ServiceError("the service reports an error: busy")) == []
