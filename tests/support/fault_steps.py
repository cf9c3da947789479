"""Steps: what a `FaultServer` does on the wire, byte by byte, instead of a proper answer.

A script is a tuple of steps. When it has ended, the connection waits for the next request, as
a kept-alive connection does; end it with `Close()` or `Reset()` to have it otherwise.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias


class Line(Protocol):
    """The server's end of a connection, as a step sees it."""

    async def send(self, data: bytes) -> None:
        """Send bytes; end the script if the client is gone."""

    async def pause(self, seconds: float | None) -> None:
        """Send nothing for a while (`None`: for ever); end the script if the client is gone."""

    async def wait_for(self, event: asyncio.Event) -> None:
        """Send nothing until the event is set; end the script if the client is gone."""

    async def close(self) -> None:
        """Close in order (FIN)."""

    async def reset(self) -> None:
        """Close at once (RST), without a TLS good-bye."""


class Step(Protocol):
    """One thing that a server does."""

    async def play(self, line: Line) -> None:
        """Do it."""


Script: TypeAlias = tuple[Step, ...]


@dataclass(frozen=True)
class Send:
    """Send bytes; with a `size`, in segments of so many bytes each."""

    data: bytes
    size: int = 0

    async def play(self, line: Line) -> None:
        size = self.size or max(len(self.data), 1)
        for start in range(0, len(self.data), size):
            await line.send(self.data[start : start + size])


@dataclass(frozen=True)
class Repeat:
    """Send the same bytes again and again: so many times, or until the client is gone."""

    data: bytes
    times: int | None = None
    every: float = 0.0

    async def play(self, line: Line) -> None:
        sent = 0
        while self.times is None or sent < self.times:
            await line.send(self.data)
            sent += 1
            if self.every:
                await line.pause(self.every)


@dataclass(frozen=True)
class Wait:
    """Send nothing for a while."""

    seconds: float

    async def play(self, line: Line) -> None:
        await line.pause(self.seconds)


@dataclass(frozen=True)
class WaitFor:
    """Send nothing until a test says so."""

    event: asyncio.Event

    async def play(self, line: Line) -> None:
        await line.wait_for(self.event)


@dataclass(frozen=True)
class Hang:
    """Send nothing any more, and keep the connection open."""

    async def play(self, line: Line) -> None:
        await line.pause(None)


@dataclass(frozen=True)
class Close:
    """Close the connection in order."""

    async def play(self, line: Line) -> None:
        await line.close()


@dataclass(frozen=True)
class Reset:
    """Reset the connection."""

    async def play(self, line: Line) -> None:
        await line.reset()


# What follows builds scripts, and bytes for them.

LAST_CHUNK = b"0\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked"
NDJSON = "Content-Type: application/x-ndjson"


def head(status: str = "200 OK", *headers: str, version: str = "HTTP/1.1") -> bytes:
    """Return a status line and headers, with the blank line at their end."""
    return "".join(f"{one}\r\n" for one in (f"{version} {status}", *headers, "")).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def answer(status: str = "200 OK", body: bytes = b"", *headers: str) -> Script:
    """Answer with a Content-Length; the connection is kept."""
    return (Send(head(status, *headers, f"Content-Length: {len(body)}") + body),)


def stream(*parts: bytes, headers: Iterable[str] = (NDJSON,)) -> Script:
    """Answer 200 in chunks, each a segment of its own; the connection is kept."""
    begin = Send(head("200 OK", *headers, CHUNKED))
    return (begin, *(Send(chunk(part)) for part in parts if part), Send(LAST_CHUNK))


def begin_stream(*parts: bytes, headers: Iterable[str] = (NDJSON,)) -> Script:
    """Answer like `stream`, but without an end."""
    return stream(*parts, headers=headers)[:-1]


def line(content: Any, **more: Any) -> bytes:
    """Return one line of an answer of the service."""
    return json.dumps({"content": content, **more}, ensure_ascii=False).encode() + b"\n"


def login_answer(token: str) -> Script:
    """Answer a login with a token."""
    body = json.dumps({"data": {"token": token}}).encode()
    return answer("200 OK", body, "Content-Type: application/json")
