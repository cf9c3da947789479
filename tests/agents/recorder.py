"""A proxy between an agent and the gateway that records what the agent gets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientSession, ClientTimeout, web

from support.playing import playing

MARKER = "```tool:"
CHATS = ("/messages", "/responses", "/chat/completions")
_HOP = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})


class Recorder:
    """Counts turns, calls, failures, and markers in what is shown to a user.

    Attributes:
        turns: chats that were asked.
        calls: tool calls in the answers.
        failures: answers that were errors, with what they said.
        leaks: marks of calls in the text of answers.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self.turns = self.calls = self.leaks = 0
        self.failures: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on, and its answer back."""
        headers = {n: v for n, v in request.headers.items() if n.lower() not in _HOP}
        async with (
            ClientSession(timeout=ClientTimeout(total=None), auto_decompress=False) as session,
            session.request(
                request.method,
                self._target + request.raw_path,
                headers=headers,
                data=await request.read(),
                allow_redirects=False,
            ) as answer,
        ):
            passed = {n: v for n, v in answer.headers.items() if n.lower() not in _HOP}
            response = web.StreamResponse(status=answer.status, headers=passed)
            await response.prepare(request)
            read = []
            async for data in answer.content.iter_any():
                read.append(data)
                await response.write(data)
            await response.write_eof()
        is_chat = request.method == "POST" and request.path.endswith(CHATS)
        if is_chat or answer.status >= 500:
            self._note(answer.status, b"".join(read).decode("utf-8", "replace"))
        return response

    def _note(self, status: int, body: str) -> None:
        self.turns += 1
        if status >= 400:
            self.failures.append(f"{status}: {body[:300]}")
            return
        lines = [line[5:].strip() for line in body.splitlines() if line.startswith("data:")]
        text = []
        for line in lines or [body]:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                text.append(self._read(event))
        self.leaks += "".join(text).count(MARKER)

    def _read(self, event: dict[str, object]) -> str:
        """Count what an event of any of the three protocols says; return its text."""
        kind = event.get("type")
        if kind in ("error", "response.failed") or event.get("error"):
            self.failures.append(json.dumps(event)[:300])
        inner = event.get("content_block") or event.get("item")
        if kind in ("content_block_start", "response.output_item.added"):
            self.calls += isinstance(inner, dict) and inner.get("type") in (
                "tool_use",
                "function_call",
                "custom_tool_call",
            )
        delta = event.get("delta")
        if isinstance(delta, dict):
            return str(delta.get("text") or "")
        if kind == "response.output_text.delta":
            return str(delta)
        choices = event.get("choices")
        if isinstance(choices, list) and choices:
            said = choices[0].get("delta") or choices[0].get("message") or {}
            self.calls += sum(1 for call in said.get("tool_calls") or () if call.get("id"))
            return str(said.get("content") or "")
        return ""


@asynccontextmanager
async def open_recorder(target: str) -> AsyncIterator[tuple[Recorder, str]]:
    """Give a recorder, and the URL at which agents find it."""
    recorder = Recorder(target)
    async with playing(recorder.handle) as url:
        yield recorder, url
