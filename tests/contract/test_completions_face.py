"""OpenAI's older completions over the gateway: a prompt is a chat of one message."""

from __future__ import annotations

import json
from typing import Any

import pytest

from berlin.gateway.catalog import Service
from berlin.providers.scripted import ScriptedProvider
from berlin.types import (
    Finished,
    FinishReason,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    Usage,
    UsageReport,
)
from support.gateway import serve

PATH = "/v1/completions"


def said(reason: FinishReason = "stop") -> list[StreamEvent]:
    """Return an answer with reasoning and odd text."""
    usage = UsageReport(Usage(3, 4))
    return [ReasoningDelta("hm"), TextDelta("a\u2028"), TextDelta("b"), usage, Finished(reason)]


async def ask(provider: ScriptedProvider, path: str = PATH, **members: Any) -> tuple[int, bytes]:
    """Ask for a completion, and return the status and the body."""
    body = {"model": "s:m1", "prompt": "Once", **members}
    async with (
        serve(Service("s", provider, ["m1"])) as at,
        at.session.post(at.url + path, json=body) as answer,
    ):
        return answer.status, await answer.read()


@pytest.mark.parametrize("path", [PATH, "/completions"])
async def test_a_whole_completion(path: str) -> None:
    """Text, finish reason and usage; the prompt is the user's message, with its options."""
    provider = ScriptedProvider(said("length"))
    status, data = await ask(provider, path, max_tokens=5, stop="END", prompt=["Once"])
    got = json.loads(data)
    assert status == 200
    assert got["id"].startswith("cmpl-")
    assert (got["object"], got["model"]) == ("text_completion", "s:m1")
    assert got["choices"] == [
        {"text": "a\u2028b", "index": 0, "logprobs": None, "finish_reason": "length"}
    ]
    assert got["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    [asked] = provider.requests
    assert [(message.role, message.text) for message in asked.messages] == [("user", "Once")]
    assert asked.options == {"max_tokens": 5, "stop": "END"}


async def test_a_streamed_completion() -> None:
    """Chunks of text with one id, one finish reason, usage where it was asked for, and the end."""
    options = {"include_usage": True}
    _, data = await ask(ScriptedProvider(said()), stream=True, stream_options=options)
    *frames, done, rest = data.split(b"\n\n")
    chunks = [json.loads(frame.removeprefix(b"data: ")) for frame in frames]
    assert (done, rest) == (b"data: [DONE]", b"")
    assert len({chunk["id"] for chunk in chunks}) == 1
    *texts, last = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert [choice["text"] for choice in texts] == ["a\u2028", "b"]
    assert [choice["finish_reason"] for choice in texts] == [None, None]
    assert (last["text"], last["finish_reason"]) == ("", "stop")
    assert chunks[-1]["usage"]["total_tokens"] == 7


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1, 2]]}, "prompt"),
        ({"n": 2}, "n"),
        ({"best_of": 3}, "best_of"),
        ({"echo": True}, "echo"),
        ({"logprobs": 1}, "logprobs"),
        ({"suffix": "x"}, "suffix"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
    ids=str,
)
async def test_what_a_chat_cannot_do_is_refused(members: dict[str, Any], param: str) -> None:
    """The error names the member."""
    status, data = await ask(ScriptedProvider(said()), **members)
    assert (status, json.loads(data)["error"]["param"]) == (400, param)
