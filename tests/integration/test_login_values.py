"""Logins of browsers and what they took, in headers, bodies and URLs of the chat: over sockets."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from aiohttp import web

from berlin import errors
from berlin.providers.scripted import ScriptedProvider
from berlin.types import Finished, TextDelta
from berlin.workbench.explain import explain
from support.playing import running
from support.recipes import ask, client_of, fake_and_client, recipe_of

TWO_CREDENTIALS: dict[str, Any] = {
    "flow": "login",
    "attach": [
        {"header": "X-Auth-Token"},
        {"header": "X-User-Id", "value": "{user_id}"},
        {"cookie": "sid", "value": "{sid}"},
    ],
    "steps": [
        {"path": "/login", "method": "GET", "take": {"csrf": {"field": "_csrf"}}},
        {
            "path": "/login",
            "form": {"u": "{account}", "p": "{password}", "_csrf": "{csrf}"},
            "success": [302],
            "follow": True,
            "take": {"token": "/token", "user_id": "/me/id", "sid": {"cookie": "sid"}},
        },
    ],
}
STREAM = {"framing": "ndjson", "text": "/content", "error_message": "/message"}
CHAT: dict[str, Any] = {
    "path": "/users/{user_id}/chat",
    "json": {"prompt": "{prompt}", "by": "{account}"},
    "headers": {"X-Sign": "{hmac_sha256:{token}:{body}}"},
    "stream": STREAM,
}
COOKIE_LOGIN: dict[str, Any] = {
    "flow": "login",
    "attach": {"cookie": "*"},
    "steps": [
        {
            "path": "/login",
            "form": {"u": "{account}"},
            "success": [302],
            "take": {"token": {"cookie": "*"}},
        }
    ],
}


async def test_several_credentials_and_values_of_the_login() -> None:
    """Each credential goes where the recipe says, and what the login took into URL and body."""
    recipe = recipe_of(CHAT, TWO_CREDENTIALS)
    answers = ScriptedProvider([TextDelta("Hello"), Finished()])
    async with fake_and_client(recipe, answers) as provider:
        assert (await ask(provider, "Hi")).text == "Hello"
        assert (await ask(provider, "Hi")).text == "Hello"
    said = explain(recipe)
    assert "in the header X-User-Id: {user_id}" in said
    assert "POST https://service.example.com" in said
    assert "/users/%7Buser_id%7D/chat" in said


class Service:
    """A service with a browser's session that ends as often as it is told to."""

    def __init__(self, ended: web.Response, *, ends: int) -> None:
        self.ended, self.ends = ended, ends
        self.logins = 0
        self.seen: list[str] = []

    async def log_in(self, request: web.Request) -> web.Response:
        """Answer as Django does."""
        self.logins += 1
        response = web.Response(status=302, headers={"Location": "/"})
        response.set_cookie("sid", f"s{self.logins}")
        return response

    async def chat(self, request: web.Request) -> web.Response:
        """Answer, unless the session has ended."""
        self.seen.append(request.path)
        if self.logins <= self.ends:
            return web.Response(
                status=self.ended.status, headers=self.ended.headers, text=self.ended.text
            )
        return web.Response(text='{"content":"Hello"}\n')


def served(*routes: web.RouteDef) -> AbstractAsyncContextManager[str]:
    """Serve these routes, and give the URL."""
    app = web.Application()
    app.add_routes(routes)
    return running(app, shutdown_timeout=0)


def plain(url: str, chat: dict[str, Any], auth: dict[str, Any] | None = None) -> Any:
    return recipe_of(chat, auth, endpoint={"url": url})


PAGE = web.Response(
    text="<!doctype html><title>Log in</title>", headers={"Content-Type": "text/html"}
)
REDIRECT = web.Response(status=302, text="", headers={"Location": "/login?next=/chat"})


@pytest.mark.parametrize("ended", [PAGE, REDIRECT], ids=["page", "redirect"])
async def test_a_login_page_in_place_of_the_answer(ended: web.Response) -> None:
    """A browser's session that has ended is noticed by its login page, and begun anew once."""
    service = Service(ended, ends=1)
    routes = (web.post("/login", service.log_in), web.post("/chat", service.chat))
    chat = {"path": "/chat", "json": {"q": "{prompt}"}, "stream": STREAM}
    async with served(*routes) as url, client_of(plain(url, chat, COOKIE_LOGIN), url) as (it, _):
        assert (await ask(it, "Hi")).text == "Hello"
    assert service.logins == 2


@pytest.mark.parametrize(
    ("ended", "kind"), [(PAGE, errors.ProtocolError), (REDIRECT, errors.RedirectError)]
)
async def test_a_page_that_stays(ended: web.Response, kind: type[errors.BerlinError]) -> None:
    """Where another login does not help, the error is what it would be without a login."""
    service = Service(ended, ends=9)
    routes = (web.post("/login", service.log_in), web.post("/chat", service.chat))
    chat = {"path": "/chat", "json": {"q": "{prompt}"}, "stream": STREAM}
    async with served(*routes) as url, client_of(plain(url, chat, COOKIE_LOGIN), url) as (it, _):
        with pytest.raises(kind):
            await ask(it, "Hi")
    assert service.logins == 2


async def test_steps_of_a_conversation() -> None:
    """A step with `once` is left out in a known conversation; `after` is sent at the end."""
    seen: list[str] = []

    async def note(request: web.Request) -> web.Response:
        seen.append(f"{request.method} {request.path}")
        if request.path == "/new":
            return web.json_response({"id": "c1"})
        status = 500 if "close" in seen[-1] else 200
        return web.Response(text='{"content":"Hello"}\n', status=status)

    chat = {
        "path": "/c/{conversation_id}",
        "json": {"q": "{prompt}", "before": "{history}"},
        "prepare": [{"path": "/new", "once": True, "take": {"conversation_id": "/id"}}],
        "after": [{"path": "/c/{conversation_id}/close", "method": "DELETE"}],
        "stream": STREAM,
    }
    async with (
        served(web.route("*", "/{path:.*}", note)) as url,
        client_of(plain(url, chat), url) as (provider, _),
    ):
        first = await ask(provider, "Hi")
        assert (first.text, first.conversation_id) == ("Hello", "c1")
        second = await ask(provider, "Hi", conversation_id="c1")
        assert second.conversation_id == "c1"
    turn = ["POST /c/c1", "DELETE /c/c1/close"]
    assert seen == ["POST /new", *turn, *turn]


@pytest.mark.parametrize("is_ours", [True, False])
async def test_a_url_out_of_an_answer(is_ours: bool) -> None:
    """The URL of an answer is followed at the service's own origin, and nowhere else."""
    seen: list[str] = []

    async def start(request: web.Request) -> web.Response:
        host = request.host if is_ours else "localhost:1"
        return web.json_response({"urls": {"stream": f"http://{host}/s/1?a=b%2F"}})

    async def events(request: web.Request) -> web.Response:
        seen.append(request.path_qs)
        return web.Response(text='{"content":"Hello"}\n')

    chat = {
        "path": "{stream}",
        "method": "GET",
        "prepare": [
            {"path": "/start", "json": {"q": "{prompt}"}, "take": {"stream": "/urls/stream"}}
        ],
        "stream": STREAM,
    }
    routes = (web.post("/start", start), web.get("/s/1", events))
    async with served(*routes) as url, client_of(plain(url, chat), url) as (provider, _):
        if is_ours:
            assert (await ask(provider, "Hi")).text == "Hello"
            assert seen == ["/s/1?a=b%2F"]
        else:
            with pytest.raises(errors.ProtocolError, match="a URL of another host, 'localhost'"):
                await ask(provider, "Hi")
