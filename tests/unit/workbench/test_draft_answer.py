"""Answers as services really write them, with all that is no text in them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from berlin.errors import ConfigurationError
from berlin.workbench.draft.answer import guess_answer
from berlin.workbench.draft.request import find_prompt
from berlin.workbench.draft.sources.captured import Captured

PIECES = ["The", " capital", " of France", " is", " Paris."]
TEXT = "".join(PIECES)
UUID = "3f2b8a54-0c1d-4e7a-9b61-5d2f7c9e8a10"


def lines(*documents: Any) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def events(*documents: Any, done: str = "") -> bytes:
    body = b"".join(b"data: %b\n\n" % json.dumps(document).encode() for document in documents)
    return body + (f"data: {done}\n\n".encode() if done else b"")


def named(*pairs: tuple[str, Any]) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (name.encode(), json.dumps(data).encode())
        for name, data in pairs
    )


def cumulative() -> list[str]:
    return ["".join(PIECES[: n + 1]) for n in range(len(PIECES))]


SAMPLES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "choices with a delta": (
        events(
            *(
                {
                    "id": "chatcmpl-8a7b6c5d4e",
                    "object": "chat.completion.chunk",
                    "created": 1732450000,
                    "model": "swift-2-preview-large",
                    "choices": [{"index": 0, "delta": {"content": p}, "finish_reason": None}],
                }
                for p in PIECES
            ),
            {"id": "chatcmpl-8a7b6c5d4e", "choices": [{"delta": {}, "finish_reason": "stop"}]},
            done="[DONE]",
        ),
        {
            "framing": "sse",
            "text": "/choices/0/delta/content",
            "finish_reason": "/choices/0/finish_reason",
            "ends": "finish_reason",
        },
    ),
    "a message that grows": (
        events(
            *(
                {
                    "message": {
                        "id": UUID,
                        "author": {"role": "assistant"},
                        "content": {"content_type": "text", "parts": [said]},
                        "status": "in_progress" if n < 4 else "finished_successfully",
                    },
                    "conversation_id": UUID,
                    "error": None,
                }
                for n, said in enumerate(cumulative())
            ),
            done="[DONE]",
        ),
        {"framing": "sse", "text": "/message/content/parts/0", "text_is": "cumulative"},
    ),
    "events with types": (
        named(
            ("message_start", {"type": "message_start", "message": {"id": "msg_01abcd", "m": "s"}}),
            *(
                ("delta", {"type": "delta", "index": 0, "delta": {"kind": "text", "text": piece}})
                for piece in PIECES
            ),
            ("message_stop", {"type": "message_stop"}),
        ),
        {"framing": "sse", "text": "/delta/text", "kind": "/type"},
    ),
    "names that say it": (
        named(
            ("meta", {"model": "swift", "session": "a1b2c3d4"}),
            *(("chunk", {"text": piece}) for piece in PIECES),
            ("title", {"text": "Capitals"}),
            ("done", {"tokens": 5}),
        ),
        {"framing": "sse-events", "text": "/data/text", "kind": "/event"},
    ),
    "text in events": (
        b"".join(f"data: {piece}\n\n".encode() for piece in PIECES) + b"data: [DONE]\n\n",
        {"framing": "sse-text"},
    ),
    "json strings in events": (
        b"".join(b"data: %b\n\n" % json.dumps(piece).encode() for piece in PIECES),
        {"framing": "sse-events", "text": "/data"},
    ),
    "lines with kinds and reasoning": (
        lines(
            {"type": "status", "content": "", "ts": 1732450000},
            *({"type": "thinking", "content": piece} for piece in ["Which ", "country?"]),
            *({"type": "text", "content": piece} for piece in PIECES),
            {"type": "usage", "prompt_tokens": 3, "completion_tokens": 9},
            {"type": "end"},
        ),
        {
            "framing": "ndjson",
            "text": "/content",
            "kind": "/type",
            "output_tokens": "/completion_tokens",
            "ends": "finish_reason",
        },
    ),
    "lines with a last word": (
        lines(
            *({"response": piece, "done": False, "model": "swift:7b"} for piece in PIECES),
            {"response": "", "done": True, "prompt_eval_count": 3, "eval_count": 9},
        ),
        {
            "framing": "ndjson",
            "text": "/response",
            "finish_reason": "/done",
            "input_tokens": "/prompt_eval_count",
        },
    ),
    "one object": (
        json.dumps(
            {"code": 0, "data": {"id": "a8f3c2d1e0", "answer": TEXT, "lang": "en"}, "msg": "ok"},
            indent=1,
        ).encode(),
        {"framing": "json", "text": "/data/answer"},
    ),
    "a list": (
        json.dumps(
            [
                {"candidates": [{"content": {"parts": [{"text": p}], "role": "model"}}], "v": "2"}
                for p in PIECES
            ]
        ).encode(),
        {"framing": "json-array", "text": "/candidates/0/content/parts/0/text"},
    ),
    "lines of another form": (
        lines(
            {"session": "s-1", "queue": 3},
            *({"t": piece} for piece in PIECES),
            {"cost": 2, "usage": {"in": 3, "out": 9}},
        ),
        {
            "framing": "ndjson",
            "text": "/t",
            "others": "skip",
            "input_tokens": "/usage/in",
            "output_tokens": "/usage/out",
        },
    ),
    "text": (TEXT.encode(), {"framing": "text"}),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_text_is_found(name: str) -> None:
    """The text is exact, and stands where it stands."""
    answer, wanted = SAMPLES[name]
    guess = guess_answer(answer)
    assert guess.answer.text == TEXT
    assert {key: guess.stream.get(key) for key in wanted} == wanted


def test_kinds_are_told_apart() -> None:
    """What thinks is reasoning, a title is no text."""
    guess = guess_answer(SAMPLES["lines with kinds and reasoning"][0])
    assert guess.answer.reasoning == "Which country?"
    assert guess.stream["kinds"]["end"] == "end"
    guess = guess_answer(SAMPLES["names that say it"][0])
    assert guess.stream["kinds"]["title"] == "skip"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b'{"a": "x"}\n{"b', "copied whole"),
        (b'{"id": 1}', "no text"),
        (b"data:\n\n", "no text|without data"),
    ],
)
def test_what_is_no_answer_is_told(answer: bytes, message: str) -> None:
    """With what to do next."""
    with pytest.raises(ConfigurationError, match=message):
        guess_answer(answer)


@pytest.mark.parametrize(
    ("body", "prompt"),
    [
        ({"prompt": "Hi there", "id": UUID, "system_note": "x" * 90}, "Hi there"),
        (
            {
                "messages": [
                    {"role": "system", "content": "You are a very helpful assistant indeed."},
                    {"role": "user", "content": "Hi"},
                ]
            },
            "Hi",
        ),
        ({"inputs": [{"from": "human", "text": "Hi"}], "text": "something longer"}, "Hi"),
    ],
)
def test_the_prompt_is_found(body: Any, prompt: str) -> None:
    """Where nobody says what was typed."""
    request = Captured("POST", "https://a.example.com/", (), json.dumps(body).encode())
    assert find_prompt(request) == prompt
