"""A chat as web frameworks make one, and a browser that logs in there and is recorded.

A form with a CSRF field, a redirect, a session cookie, a page with a token for the scripts, a
conversation that is created first, and an answer that is streamed.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from support.playing import running

ACCOUNT, PASSWORD = "ann@example.com", "correct-horse"
FORM = """<!doctype html>
<title>Log in</title>
<form method="post"><input type="hidden" name="_csrf" value="{mark}">
<input name="email"><input name="password" type="password"></form>
"""
APP = """<!doctype html>
<meta name="csrf-token" content="{mark}">
<title>Chat</title>
"""


class WebChat:
    """The service.

    Attributes:
        asked: the questions.
        logins: how many logins succeeded.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.logins = 0
        self._count = 4_000_000
        self._forms: set[str] = set()
        self._marks: dict[str, str] = {}
        self._chats: set[str] = set()

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/login", self._form),
                web.post("/login", self._log_in),
                web.get("/app", self._page),
                web.post("/api/chats", self._create),
                web.post("/api/chats/{id}/messages", self._answer),
            ]
        )
        return app

    def forget(self) -> None:
        """End all sessions."""
        self._marks.clear()

    def _next(self, kind: str) -> str:
        self._count += 7919
        return f"{kind}-{self._count:x}-{self._count * 31:x}"

    async def _form(self, request: web.Request) -> web.Response:
        mark = self._next("field")
        self._forms.add(mark)
        return web.Response(text=FORM.format(mark=mark), content_type="text/html")

    async def _log_in(self, request: web.Request) -> web.Response:
        form = await request.post()
        known = form.get("_csrf") in self._forms
        if not known or (form.get("email"), form.get("password")) != (ACCOUNT, PASSWORD):
            return web.Response(status=302, headers={"Location": "/login?error=1"})
        self.logins += 1
        session = self._next("sess")
        self._marks[session] = self._next("mark")
        response = web.Response(status=302, headers={"Location": "/app"})
        response.set_cookie("session", session, httponly=True)
        return response

    def _mark(self, request: web.Request) -> str:
        return self._marks.get(request.cookies.get("session", ""), "")

    async def _page(self, request: web.Request) -> web.Response:
        mark = self._mark(request)
        if not mark:
            return web.Response(status=302, headers={"Location": "/login"})
        return web.Response(text=APP.format(mark=mark), content_type="text/html")

    def _is_known(self, request: web.Request) -> bool:
        mark = self._mark(request)
        return bool(mark) and request.headers.get("X-CSRF-Token") == mark

    async def _create(self, request: web.Request) -> web.Response:
        if not self._is_known(request):
            return web.Response(status=302, headers={"Location": "/login"})
        chat = self._next("chat")
        self._chats.add(chat)
        return web.json_response({"chat": {"id": chat, "title": "New chat"}})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if not self._is_known(request) or request.match_info["id"] not in self._chats:
            return web.Response(status=302, headers={"Location": "/login"})
        text = (await request.json())["text"]
        self.asked.append(text)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        events: list[tuple[str, Any]] = [("start", {"question": text})]
        events += [("token", {"text": piece}) for piece in ("You ", "said: ", text, ".")]
        events += [("done", {"reason": "stop"})]
        for name, data in events:
            await response.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
        await response.write_eof()
        return response


@asynccontextmanager
async def open_web_chat() -> AsyncIterator[tuple[WebChat, str]]:
    """Run the service, and give it with its URL."""
    chat = WebChat()
    async with running(chat.app()) as url:
        yield chat, url


async def record_browser(url: str, prompt: str = "Hello") -> bytes:
    """Log in and ask as a browser does, and return the HAR file that it would save."""
    entries: list[dict[str, Any]] = []
    jar = aiohttp.CookieJar(unsafe=True)  # the service has no name, only an address

    async with aiohttp.ClientSession(cookie_jar=jar) as session:

        async def visit(method: str, path: str, **more: Any) -> str:
            async with session.request(method, url + path, allow_redirects=False, **more) as answer:
                text = await answer.text()
                sent = answer.request_info.headers
                data = more.get("data") or json.dumps(more["json"]) if more else ""
                entries.append(_entry(method, url + path, sent, data, answer, text))
                return text

        form = await visit("GET", "/login")
        mark = _found(r'value="([^"]+)"', form)
        body = f"_csrf={mark}&email=ann%40example.com&password={PASSWORD}"
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        await visit("POST", "/login", data=body, headers=kind)
        page = await visit("GET", "/app")
        head = {"X-CSRF-Token": _found(r'content="([^"]+)"', page)}
        made = json.loads(await visit("POST", "/api/chats", json={}, headers=head))
        path = f"/api/chats/{made['chat']['id']}/messages"
        await visit("POST", path, json={"text": prompt}, headers=head)
    return json.dumps({"log": {"entries": entries}}).encode()


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None
    return found[1]


def _entry(
    method: str, url: str, sent: Any, data: str, answer: aiohttp.ClientResponse, text: str
) -> dict[str, Any]:
    def pairs(headers: Any) -> list[dict[str, str]]:
        return [{"name": name, "value": value} for name, value in headers.items()]

    request: dict[str, Any] = {"method": method, "url": url, "headers": pairs(sent)}
    if data:
        request["postData"] = {"text": data, "mimeType": sent.get("Content-Type", "")}
    content = {"text": text, "mimeType": answer.content_type}
    return {
        "request": request,
        "response": {"status": answer.status, "headers": pairs(answer.headers), "content": content},
    }
