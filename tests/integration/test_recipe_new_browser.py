"""From a HAR of a browser's login, with CSRF and a redirect, to a recipe that works at once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from berlin.auth.credentials import Credentials
from berlin.recipes.recipe import parse_recipe
from berlin.workbench.draft.choose import find_chat
from berlin.workbench.draft.sources.har import is_without_secrets, read_har
from berlin.workbench.draft.writer import Draft, write_draft
from support.playing import running
from support.recipes import ask, opened

ANN = Credentials.of("ann@example.com", "correct-horse")


class Site:
    """A chat as a web framework makes one: a form with a CSRF field, a cookie, an XSRF header."""

    def __init__(self) -> None:
        self.count = 0
        self.forms: set[str] = set()
        self.sessions: dict[str, str] = {}

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application()
        app.router.add_get("/login", self.page)
        app.router.add_post("/login", self.log_in)
        app.router.add_post("/api/ask", self.chat)
        return app

    async def page(self, request: web.Request) -> web.Response:
        """Show the form."""
        self.count += 1
        mark = f"form-mark-{self.count:08d}"
        self.forms.add(mark)
        text = f'<!doctype html><form><input type="hidden" name="_csrf" value="{mark}"></form>'
        return web.Response(text=text, content_type="text/html")

    async def log_in(self, request: web.Request) -> web.Response:
        """Let ann in who sends the mark of the form back."""
        form = await request.post()
        good = form.get("_csrf") in self.forms and form.get("password") == "correct-horse"
        if form.get("email") != "ann@example.com" or not good:
            return web.Response(status=302, headers={"Location": "/login?error"})
        session, mark = f"sess-{self.count:012d}", f"mark/{self.count:010d}="
        self.sessions[session] = mark
        response = web.Response(status=302, headers={"Location": "/"})
        response.set_cookie("sid", session)
        response.set_cookie("XSRF-TOKEN", mark.replace("/", "%2F").replace("=", "%3D"))
        return response

    async def chat(self, request: web.Request) -> web.Response:
        """Answer who is logged in and sends the mark in a header."""
        mark = self.sessions.get(request.cookies.get("sid", ""))
        if mark is None or request.headers.get("X-XSRF-TOKEN") != mark:
            return web.Response(status=302, headers={"Location": "/login"})
        asked = await request.json()
        lines = [{"t": "You "}, {"t": f"said {asked['text']}"}, {"end": "stop"}]
        return web.Response(text="".join(json.dumps(line) + "\n" for line in lines))


def entry(
    url: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: str = "",
    *,
    status: int = 200,
    answer_headers: list[tuple[str, str]] | None = None,
    answer: str = "",
) -> dict[str, Any]:
    """Return an entry of a HAR file."""
    request: dict[str, Any] = {
        "method": method,
        "url": url,
        "headers": [{"name": n, "value": v} for n, v in (headers or {}).items()],
    }
    if body:
        request["postData"] = {"text": body, "mimeType": (headers or {}).get("Content-Type", "")}
    found = [{"name": n, "value": v} for n, v in answer_headers or []]
    return {
        "request": request,
        "response": {"status": status, "headers": found, "content": {"text": answer}},
    }


def saved(url: str) -> bytes:
    """Return what a browser saved of a session at a site."""
    form = "email=ann%40example.com&password=correct-horse&_csrf=form-mark-99999999"
    cookies = [
        ("Set-Cookie", "sid=sess-999999999999; Path=/; HttpOnly"),
        ("Set-Cookie", "XSRF-TOKEN=mark%2F9999999999%3D; Path=/"),
        ("Location", "/"),
    ]
    chat = {
        "Content-Type": "application/json",
        "Cookie": "sid=sess-999999999999; XSRF-TOKEN=mark%2F9999999999%3D; theme=dark",
        "X-XSRF-TOKEN": "mark/9999999999=",
    }
    said = '{"t":"You "}\n{"t":"said Hello"}\n{"end":"stop"}\n'
    page = '<!doctype html><form><input name="_csrf" value="form-mark-99999999"></form>'
    entries = [
        entry(f"{url}/login", answer=page, answer_headers=[("Content-Type", "text/html")]),
        entry(
            f"{url}/login",
            "POST",
            {"Content-Type": "application/x-www-form-urlencoded"},
            form,
            status=302,
            answer_headers=cookies,
        ),
        entry(f"{url}/api/ask", "POST", chat, json.dumps({"text": "Hello"}), answer=said),
    ]
    return json.dumps({"log": {"entries": entries}}).encode()


def drafted(har: bytes) -> Draft:
    """Return the draft, as `berlin recipe new` makes it."""
    exchanges = read_har(har)
    draft = write_draft(exchanges, find_chat(exchanges, "Hello"), "Hello", "site")
    assert draft.missing == []
    return draft


async def test_a_browser_login_with_csrf_works_at_once() -> None:
    """The draft follows the form's mark, the cookies and the header's mark, and logs in again."""
    async with running(Site().app()) as url:
        recipe = parse_recipe(drafted(saved(url)).text, "site.toml")
        async with opened(recipe, ANN) as (provider, _):
            answers = await asyncio.gather(ask(provider, "Hi"), ask(provider, "again"))
        assert [a.text for a in answers] == ["You said Hi", "You said again"]


@pytest.mark.parametrize(
    "secret",
    ["sess-999999999999", "mark/9999999999=", "mark%2F9999999999", "form-mark-99999999", "horse"],
)
def test_no_cookie_and_no_mark_gets_into_the_file(secret: str) -> None:
    """What was in a cookie, a password or a mark is nowhere in the draft, under no name."""
    assert secret not in drafted(saved("https://chat.example.com")).text


def test_a_file_without_cookies_and_tokens_is_known() -> None:
    """A browser's export without what is secret is told from one with it."""
    full = read_har(saved("https://chat.example.com"))
    assert not is_without_secrets(full)
    bare = json.dumps({"log": {"entries": [entry("https://chat.example.com/api/ask")]}})
    assert is_without_secrets(read_har(bare.encode()))
    assert not is_without_secrets([])


def test_a_cookie_in_a_member_is_left_out() -> None:
    """A cookie's value that the chat repeats in its body does not get in either."""
    har = saved("https://chat.example.com").replace(
        b'{\\"text\\": \\"Hello\\"}', b'{\\"text\\": \\"Hello\\", \\"s\\": \\"sess-999999999999\\"}'
    )
    assert b"sess-999999999999\\" in har
    assert "sess-9" not in drafted(har).text
