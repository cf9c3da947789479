"""The Berlin face: how answers stream, fail and are left."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from berlin import errors
from berlin.errors import BerlinError
from berlin.gateway.refusals import public
from berlin.providers.contract import Burst
from berlin.providers.scripted import ScriptedProvider
from berlin.types import (
    ChatRequest,
    Finished,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from support.face import CHAT, body, open_face


async def until(condition: Any, within: float) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.005)


async def test_what_the_provider_is_asked() -> None:
    """The provider gets prompt, model and options as they were sent."""
    provider = ScriptedProvider()
    async with open_face(provider) as face:
        await face.chat(model="big", temperature=0.5, stop=["a", "b"], top_k=None)
    assert [request.messages[0].text for request in provider.requests] == ["Hi"]
    assert provider.requests[0].model == "big"
    assert provider.requests[0].options == {"temperature": 0.5, "stop": ["a", "b"], "top_k": None}


async def test_answer_is_lines_of_json() -> None:
    """Each piece is a line; the last line carries finish reason and usage."""
    script = ["Hel", "lo", UsageReport(Usage(3, 2)), Finished("length")]
    async with open_face(ScriptedProvider(script)) as face:
        assert await face.chat() == (
            200,
            [
                {"content": "Hel"},
                {"content": "lo"},
                {
                    "content": "",
                    "usage": {"input_tokens": 3, "output_tokens": 2},
                    "finish_reason": "length",
                },
            ],
        )


async def test_headers_of_a_stream() -> None:
    """No cache and no proxy holds a stream back, and its type is that of lines of JSON."""
    async with open_face(ScriptedProvider()) as face:
        headers = {"token": await face.login()}
        async with face.session.post(face.url + CHAT, json=body(), headers=headers) as answer:
            assert answer.headers["Content-Type"] == "application/x-ndjson"
            assert answer.headers["Cache-Control"] == "no-cache"
            assert answer.headers["X-Accel-Buffering"] == "no"
            assert "Content-Length" not in answer.headers
            assert "Set-Cookie" not in answer.headers


async def test_reasoning_and_tool_calls_are_left_out() -> None:
    """What this wire cannot say is left out."""
    script: list[StreamEvent | str] = [
        ReasoningDelta("hm"),
        "a",
        ToolCallDelta(0, "id", "f", "{}"),
        ReasoningDelta("so"),
        "b",
        Finished(),
    ]
    async with open_face(ScriptedProvider(script)) as face:
        _, lines = await face.chat()
    assert [line["content"] for line in lines] == ["a", "b", ""]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.UpstreamTimeoutError("first_event: none came"), 504),
        (errors.ConnectError("no connection"), 502),
        (errors.ServiceUnavailableError("out of order"), 502),
        (errors.EmptyResponseError("empty"), 502),
        (errors.AuthenticationError("refused"), 502),
        (errors.PermissionDeniedError("forbidden"), 502),
        (errors.RequestRejectedError("no such model"), 400),
        (errors.InvalidRequestError("NaN"), 400),
        (errors.ConfigurationError("not set up"), 503),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BerlinError) else "",
)
@pytest.mark.parametrize("before", [[], [ReasoningDelta("hm")]], ids=["at once", "after thoughts"])
async def test_error_before_the_first_event(
    error: BerlinError, status: int, before: list[StreamEvent]
) -> None:
    """An error before anything was written is a real status with a message (G20)."""
    async with open_face(ScriptedProvider([*before, error])) as face:
        got = await face.post(CHAT, body(), await face.login())
    told = public(error).message  # which host and account it was stays in the log
    assert got[:2] == (status, {"code": status, "message": told})
    assert "Retry-After" not in got[2].headers


async def test_rate_limit_before_the_first_event() -> None:
    """The service's word on when to come back is handed on."""
    limit = errors.RateLimitError("slow down", retry_after=7.2)
    async with open_face(ScriptedProvider([limit])) as face:
        status, said, answer = await face.post(CHAT, body(), await face.login())
    assert (status, said["message"]) == (429, "slow down")
    assert answer.headers["Retry-After"] == "7"


async def test_error_after_the_first_event() -> None:
    """An error after the answer has begun is its last line, and the HTTP answer ends in order
    (G21).
    """
    script = ["Hel", errors.RateLimitError("slow down")]
    async with open_face(ScriptedProvider(script)) as face:
        said = {"message": "slow down (after 1 event of the answer)"}
        assert await face.chat() == (200, [{"content": "Hel"}, {"error": said}])


class BrokenProvider(ScriptedProvider):
    """Has a bug, after some pieces of text."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Stream, and fail."""
        for _ in range(self.pieces):
            yield [TextDelta("x")]
        raise ValueError("hunter2 in /etc/secret.py")


@pytest.mark.parametrize("pieces", [0, 1])
async def test_internal_error_tells_nothing(pieces: int, caplog: pytest.LogCaptureFixture) -> None:
    """A bug is a 500, or a last line, without its text; the log has it (X10)."""
    with caplog.at_level(logging.ERROR, "berlin.gateway"):
        async with open_face(BrokenProvider(pieces)) as face:
            status, lines = await face.chat()
    message = "internal error; the gateway's log says more"
    late = {"message": f"{message} (after 1 event of the answer)"}
    told = {"code": 500, "message": message} if pieces == 0 else {"error": late}
    assert status == (200 if pieces else 500)
    assert lines == [{"content": "x"}] * pieces + [told]
    assert "hunter2" in caplog.text


async def test_client_leaves_before_the_first_event() -> None:
    """A client that goes while the provider is silent ends the provider's answer (G02)."""
    provider = ScriptedProvider([30.0, "late"])
    async with open_face(provider) as face:
        task = asyncio.create_task(face.chat())
        await until(lambda: provider.requests, 10)
        task.cancel()
        await until(lambda: provider.closed == 1, 10)


async def test_client_leaves_in_mid_stream() -> None:
    """A client that goes in mid-stream ends the provider's answer (G01)."""
    provider = ScriptedProvider(["first", 30.0, "late"])
    async with open_face(provider) as face:
        headers = {"token": await face.login()}
        answer = await face.session.post(face.url + CHAT, json=body(), headers=headers)
        assert await answer.content.readline() == b'{"content":"first"}\n'
        answer.close()
        await until(lambda: provider.closed == 1, 10)


class GatedProvider(ScriptedProvider):
    """Gives each piece when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Semaphore(0)

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Stream piece by piece."""
        for n in range(3):
            await self.gate.acquire()
            yield [TextDelta(str(n))]
        yield [Finished()]


async def test_pieces_leave_as_they_come() -> None:
    """Each piece is with the client before the provider makes the next one (G24)."""
    provider = GatedProvider()
    async with open_face(provider) as face:
        headers = {"token": await face.login()}
        provider.gate.release()
        async with face.session.post(face.url + CHAT, json=body(), headers=headers) as answer:
            for n in range(3):
                async with asyncio.timeout(20):
                    assert json.loads(await answer.content.readline()) == {"content": str(n)}
                provider.gate.release()


class EndlessProvider(ScriptedProvider):
    """Never stops talking, and counts how much it said."""

    said = 0
    ended = False

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Stream for ever, if the prompt is `endless`."""
        if request.messages[0].text != "endless":
            yield [TextDelta("short")]
            yield [Finished()]
            return
        try:
            while True:
                yield [TextDelta("x" * 65_536)]
                self.said += 65_536
                await asyncio.sleep(0)
        finally:
            self.ended = True


async def test_client_that_does_not_read() -> None:
    """A client that does not read holds up its own provider, not the memory and not others
    (G04).
    """
    provider = EndlessProvider()
    async with open_face(provider) as face:
        data = json.dumps(body("endless")).encode()
        head = (
            f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\ntoken: {await face.login()}\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        host, port = face.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as lazy:
            lazy.sendall(head.encode() + data)
            before = -1
            async with asyncio.timeout(10):
                while provider.said != before or not before:
                    before = provider.said
                    await asyncio.sleep(0.2)
            # What the pump and the system's buffers hold; without a limit it would be gigabytes.
            assert provider.said < 32 * 2**20
            status, lines = await face.chat()
            assert (status, lines[0]) == (200, {"content": "short"})
        await until(lambda: provider.ended, 10)
