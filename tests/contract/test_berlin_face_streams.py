"""The Berlin face: how answers stream, fail and are left."""

from __future__ import annotations

import pytest

from berlin import errors
from berlin.errors import BerlinError
from berlin.gateway.refusals import public
from berlin.providers.scripted import ScriptedProvider
from berlin.types import (
    Finished,
    ReasoningDelta,
    StreamEvent,
    Usage,
    UsageReport,
)
from support.face import CHAT, body, open_face


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
