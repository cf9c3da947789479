"""Transcripts played again: what is noticed, and what is not done."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from berlin import errors
from berlin.errors import ProtocolError
from berlin.types import ChatResponse
from berlin.wire.transcript import Transcript, Turn
from berlin.workbench.replay import difference, recipe_of, replay
from support.transcripts import transcript_of


async def test_replay_notices_another_request() -> None:
    """A transcript of another request is told, with what was sent instead."""
    transcript = transcript_of("openai")
    asked = [{"role": "user", "content": "Something else"}]
    with pytest.raises(ProtocolError, match="the body sent to /chat/completions differs"):
        await replay(msgspec.structs.replace(transcript, messages=asked))


async def test_replay_notices_what_was_not_asked_for() -> None:
    """A turn that nobody asks for means that the recipe asks for less than it did."""
    transcript = transcript_of("openai")
    twice = msgspec.structs.replace(transcript, turns=[*transcript.turns, *transcript.turns])
    with pytest.raises(ProtocolError, match="the last 1 turns of the transcript"):
        await replay(twice)


async def test_replay_starts_no_program(tmp_path: Path) -> None:
    """A transcript brings its recipe along, and that may name a program: it does not run."""
    touched = tmp_path / "touched"
    recipe = [
        "schema = 1",
        'name = "mine"',
        'description = "a service"',
        'extends = "openai"',
        "[auth]",
        'flow = "command"',
        f'command = ["/bin/sh", "-c", "echo t > {touched}; cat {touched}"]',
    ]
    good = msgspec.structs.replace(transcript_of("openai"), recipe=recipe)
    assert recipe_of(good).auth.flow() is not None
    assert difference(good, await replay(good)) is None
    refused = [msgspec.structs.replace(turn, status=401) for turn in good.turns]
    with pytest.raises(errors.AuthenticationError):
        await replay(msgspec.structs.replace(good, turns=refused * 2))
    assert not touched.exists()


async def test_replay_does_not_wait_between_questions() -> None:
    """A service that is asked until it is ready is asked again at once."""
    recipe = [
        "schema = 1",
        'name = "mine"',
        'description = "a service"',
        '[endpoint]\nurl = "https://a.example"',
        '[[chat.prepare]]\npath = "/ask"\njson = { q = "{prompt}" }\ntake = { id = "/id" }',
        '[chat]\npath = "/answers/{id}"\nmethod = "GET"\npoll_s = 60',
        '[chat.stream]\nframing = "json"\ntext = "/text"\ntext_is = "cumulative"',
        'finish_reason = "/state"\nunfinished = ["working"]\n',
    ]
    turns = [
        Turn("POST", "/ask", 200, body=['{"q":"Hello"}'], answer=['{"id":"7"}']),
        Turn("GET", "/answers/7", 200, answer=['{"text":"A","state":"working"}']),
        Turn("GET", "/answers/7", 200, answer=['{"text":"Ab","state":"done"}']),
    ]
    asked = [{"role": "user", "content": "Hello"}]
    transcript = Transcript(1, recipe, "here", asked, turns, "Ab")
    assert difference(transcript, await replay(transcript)) is None


def test_difference_names_what_differs() -> None:
    """The first thing that differs is told with both values."""
    transcript = transcript_of("openai")
    same = ChatResponse.of(transcript.text, "stop")
    assert difference(transcript, ChatResponse.of("Hi", "stop")) == (
        f"the text is 'Hi'; the transcript has {transcript.text!r}"
    )
    assert (
        difference(transcript, same) == "the count of input tokens is None; the transcript has 23"
    )
