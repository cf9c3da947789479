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
from support.described import LOGIN

REJECTED = "rejected_statuses = [403]\n[["
GRANT = '[auth]\nflow = "oauth2"\ngrant = "client_credentials"\ntoken_url = "/t"\n'
STREAM = """
[chat.stream]
framing = "sse"
text = "/content"
"""
CHAT = '[chat]\npath = "/ask"\njson = { q = "{prompt}" }\n'
UNREAD = ProtocolError("a line has neither text nor anything else that the recipe describes")
CUT = TruncatedStreamError("the answer ended without a finish reason")
ENDS = 'finish_reason = "/why"\nends = "finish_reason"\n'
KIND = 'kind = "/type"\nkinds = { '
A = {"type": "a", "content": "Hi"}


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
    texts = (d if isinstance(d, str) else json.dumps(d) for d in documents)
    return "".join(f"data: {text}\n\n" for text in texts).encode()


def delta(text: str) -> Any:
    return {"id": "x-1", "choices": [{"delta": {"content": text}}]}


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


@pytest.mark.parametrize(
    ("auth", "path", "status", "body", "place"),
    [
        (LOGIN, "/ask", 404, {"message": "no such model"}, ("models", "default")),
        ("", "/ask", 401, b"", ("auth", "flow")),
        (LOGIN.replace("[[", REJECTED, 1), "/ask", 403, b"", ("auth", "attach")),
        (GRANT, "/t", 400, b"", ("auth", "grant")),
        (GRANT, "/t", 404, b"", ("auth", "token_url")),
    ],
)
def test_what_a_status_means(
    auth: str, path: str, status: int, body: Any, place: tuple[str, ...]
) -> None:
    """The flow of the recipe and the words of the answer decide which line a status blames."""
    described = recipe(auth=auth)
    error = AuthenticationError("no")
    assert hint(described, turn(described, path, status, body), error).place == place


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_services_own_troubles_are_no_mistake_of_the_recipe(status: int) -> None:
    """No line is blamed for a service that is down or busy."""
    described = recipe()
    assert diagnose(described, [turn(described, "/ask", status)], ServiceError("no")) == []


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


@pytest.mark.parametrize(
    ("rest", "documents", "error", "place", "said"),
    [
        ("", [delta("Hel"), delta("lo")], UNREAD, "text", "text at /choices/0/delta/content"),
        ("", [{"content": {"parts": ["Hi"]}}], UNREAD, "text", "there is text at /content/parts/0"),
        ("", [{"content": "a"}, {"heartbeat": 7}], UNREAD, "others", "/heartbeat"),
        (ENDS, [{"content": "a"}, {"stop_reason": "end"}], CUT, "finish_reason", "/stop_reason"),
        (ENDS, [{"content": "a"}], CUT, "ends", ""),
        (KIND + 'done = "end" }\n', [A], EmptyResponseError("empty"), "kinds", "a"),
        (KIND + 'b = "text" }\n', [A, {"type": "b", "text": "Hello"}], None, "text", "at /text"),
        ("", [{"error": {"message": "busy"}}], UNREAD, "error", 'error = "/error/message"'),
        ('done = "END"\n', [{"content": "a"}, "[DONE]"], UNREAD, "done", 'done = "[DONE]"'),
        ("", [{"content": "a"}], UpstreamTimeoutError("idle"), "done", ""),
        ('finish_reason = "/why"\n', [{"content": "a", "done": 1}], None, "finish_reason", "/done"),
    ],
)
def test_a_wrong_line(
    rest: str, documents: list[Any], error: BerlinError | None, place: str, said: str
) -> None:
    """An answer that does not fit names the key of the stream, and what its value could be."""
    described = recipe(STREAM + rest)
    found = hint(described, turn(described, "/ask", 200, events(*documents)), error)
    assert found.place == ("chat", "stream", place)
    assert said in found.why


def test_another_known_format() -> None:
    """An answer in a known format names it."""
    described = recipe(stream="", chat='[chat]\nformat = "openai-chat"\n')
    body = events({"type": "content_block_delta", "delta": {"text": "Hello"}})
    found = hint(described, turn(described, "/chat/completions", 200, body), UNREAD)
    assert found.why == 'the answer looks like format = "anthropic-messages"'


def test_a_good_answer_is_left_alone() -> None:
    """No line is blamed when all is well."""
    described = recipe()
    tried = turn(described, "/ask", 200, events({"content": "Hello"}))
    assert diagnose(described, [tried], None) == []


def test_an_error_that_the_service_reports_blames_no_line() -> None:
    """A good description of a bad answer is no mistake."""
    described = recipe(STREAM + 'error = "/error"\n')
    tried = turn(described, "/ask", 200, events({"error": "busy"}))
    assert diagnose(described, [tried], ServiceError("the service reports an error: busy")) == []
