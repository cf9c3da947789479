"""What a browser would have saved of a client's requests: as curl commands, and as a HAR file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from berlin.transport import Answer, Sender
from berlin.types import HttpRequest, HttpResponse, Secret

NOISE = {
    "accept-language": "en-US,en;q=0.9",
    "origin": "https://chat.example.com",
    "referer": "https://chat.example.com/",
    "sec-ch-ua": '"Chromium";v="130", "Not?A_Brand";v="99"',
    "sec-fetch-mode": "cors",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
    "x-csrf-token": "9f8e7d6c5b4a39281706f5e4d3c2b1a0",
    "x-client-version": "3.1",
}


class Browser:
    """Sends by another sender, and keeps all of what was sent and answered.

    Args:
        inner: what really sends.
        url: the base URL.
    """

    def __init__(self, inner: Sender, url: str) -> None:
        self.seen: list[tuple[HttpRequest, HttpResponse]] = []
        self.url = url
        self._inner = inner

    async def open(self, request: HttpRequest, connect_timeout: float) -> Answer:
        """Send a request."""
        answer = await self._inner.open(request, connect_timeout)
        whole = await answer.whole()
        answer.close()
        self.seen.append((request, whole))
        return _Kept(whole)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    def curl(self, n: int) -> str:
        """Return a request as a command, as Chrome copies it."""
        request = self.seen[n][0]
        parts = [f"curl {_quoted(self._url(request))}", f"-X {_quoted(request.method)}"]
        parts += [f"-H {_quoted(f'{name}: {value}')}" for name, value in _headers(request)]
        if request.body:
            parts.append(f"--data-raw {_quoted(request.body.decode())}")
        return " \\\n  ".join(parts)

    def answer(self, n: int) -> bytes:
        """Return an answer, as `curl -i` prints it."""
        answer = self.seen[n][1]
        lines = [f"HTTP/1.1 {answer.status} OK"]
        lines += [f"{name}: {value}" for name, value in _answer_headers(answer)]
        return "\r\n".join([*lines, "", ""]).encode() + answer.body

    def har(self) -> bytes:
        """Return all of it as a file."""
        entries = [
            {
                "request": {
                    "method": request.method,
                    "url": self._url(request),
                    "headers": _pairs(_headers(request)),
                    **({"postData": {"text": request.body.decode()}} if request.body else {}),
                },
                "response": {
                    "status": answer.status,
                    "headers": _pairs(_answer_headers(answer)),
                    "content": {"text": answer.body.decode()},
                },
            }
            for request, answer in self.seen
        ]
        page = {
            "request": {"method": "GET", "url": f"{self.url}/", "headers": []},
            "response": {"status": 200, "headers": [], "content": {"text": "<html></html>"}},
        }
        return msgspec.json.encode({"log": {"entries": [page, *entries, page]}})

    def _url(self, request: HttpRequest) -> str:
        url = request.path if "://" in request.path else self.url + request.path
        query = "&".join(f"{n}={_shown(v)}" for n, v in request.query.items())
        return f"{url}?{query}" if query else url


class _Kept(Answer):
    """An answer that was read before."""

    def __init__(self, whole: HttpResponse) -> None:
        self.status, self.headers = whole.status, dict(whole.headers)
        self._whole = whole
        self._left = whole.body

    async def read(self) -> bytes:
        data, self._left = self._left, b""
        return data

    @property
    def cookies(self) -> dict[str, str]:
        return dict(self._whole.cookies)


def _headers(request: HttpRequest) -> Iterator[tuple[str, str]]:
    yield from NOISE.items()
    for name, value in request.headers.items():
        yield name, _shown(value)


def _answer_headers(answer: HttpResponse) -> Iterator[tuple[str, str]]:
    for name, value in answer.headers.items():
        if name != "set-cookie":
            yield name, value
    for name, value in answer.cookies.items():
        yield "Set-Cookie", f"{name}={value}; HttpOnly; Path=/"


def _pairs(headers: Iterator[tuple[str, str]]) -> list[Mapping[str, Any]]:
    return [{"name": name, "value": value} for name, value in headers]


def _shown(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def _quoted(text: str) -> str:
    if "'" not in text and "\n" not in text and "!" not in text:
        return f"'{text}'"
    return "$'" + json.dumps(text)[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"
