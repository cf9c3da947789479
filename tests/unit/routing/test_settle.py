"""A text that its service rewrites is shown once it has settled, by a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from berlin import errors
from berlin.config import Settings
from berlin.config.compose import compose
from berlin.providers.contract import Burst
from berlin.providers.scripted import ScriptedProvider
from berlin.routing.settle import Settled
from berlin.types import (
    ChatRequest,
    Endpoint,
    Finished,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    TextReplaced,
    Timeouts,
    ToolCallDelta,
)
from support.recipes import recipe_of
from support.virtual_time import run

Step = tuple[float, list[StreamEvent]]
ASKED = ChatRequest.of("Hi")


class Timed:
    """Answers with bursts, each some seconds after the one before."""

    def __init__(self, *steps: Step | errors.BerlinError) -> None:
        self.steps = steps
        self.closed = 0

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Answer."""
        try:
            for step in self.steps:
                if isinstance(step, errors.BerlinError):
                    raise step
                await asyncio.sleep(step[0])
                yield step[1]
        finally:
            self.closed += 1

    async def aclose(self) -> None:
        """Do nothing."""


async def timeline(provider: Timed, request: ChatRequest = ASKED) -> list[tuple[float, Burst]]:
    """Return what is shown, and when."""
    loop = asyncio.get_running_loop()
    return [(loop.time(), burst) async for burst in Settled(provider, 2).bursts(request)]


def test_a_spinner_is_never_shown() -> None:
    """Drafts that are replaced within the time are held back; the rest streams as it comes."""
    provider = Timed(
        (1, [ReasoningDelta("hm"), TextDelta("Thinking …")]),
        (1.5, [TextReplaced("The")]),
        (1, [TextDelta(" answer")]),
        (3, [TextDelta(" is")]),
        (1, [TextDelta(" 7"), Finished()]),
    )
    assert run(timeline(provider)) == [
        (1, [ReasoningDelta("hm")]),
        (4.5, [TextDelta("The answer")]),
        (6.5, [TextDelta(" is")]),
        (7.5, [TextDelta(" 7"), Finished()]),
    ]


def test_a_short_answer_is_shown_at_its_end() -> None:
    """The end and a tool call show the last text at once."""
    call = ToolCallDelta(0, "c", "f", "{}")
    ended = Timed((0, [TextDelta("a")]), (1, [TextReplaced("b"), Finished()]))
    called = Timed((0, [TextDelta("a"), TextReplaced("b"), call]), (0, [Finished("tool_calls")]))
    assert run(timeline(ended)) == [(1, [TextDelta("b"), Finished()])]
    assert run(timeline(called)) == [
        (0, [TextDelta("b"), call]),
        (0, [Finished("tool_calls")]),
    ]


def test_a_later_rewrite_is_passed_on() -> None:
    """It ends the stream with an error, as without the wrapper."""
    provider = Timed((0, [TextDelta("a")]), (3, [TextReplaced("b")]), (0, [Finished()]))
    shown = run(timeline(provider))
    assert shown[:2] == [(2, [TextDelta("a")]), (3, [TextReplaced("b")])]


def test_a_whole_answer_does_not_wait() -> None:
    """It has the last text anyway."""
    provider = Timed((0, [TextDelta("a")]), (9, [TextReplaced("b"), Finished()]))
    whole = ChatRequest(ASKED.messages, whole=True)
    assert [burst for _, burst in run(timeline(provider, whole))] == [s[1] for s in provider.steps]


def test_an_error_is_passed_on_and_nothing_is_left_open() -> None:
    """Before the text has settled an error is an error; leaving early closes the answer."""

    async def leave(provider: Timed) -> None:
        answer = Settled(provider, 2).bursts(ASKED)
        assert await answer.__anext__() == [TextDelta("a")]
        await answer.aclose()

    broken = Timed((0, [TextDelta("a")]), errors.ServiceUnavailableError("down"))
    with pytest.raises(errors.ServiceUnavailableError):
        run(timeline(broken))
    left = Timed((0, [TextDelta("a")]), (9, [Finished()]))
    run(leave(left))
    assert (broken.closed, left.closed) == (1, 1)


SETTLING = {
    "path": "/chat",
    "json": {"prompt": "{prompt}"},
    "stream": {"framing": "ndjson", "text": "/text", "text_is": "cumulative", "settle_s": 1.5},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settle_s": 0}, "must be a positive number"),
        ({"settle_s": -1}, "must be a positive number"),
        ({"text_is": "delta"}, "is for text that is rewritten"),
    ],
)
def test_a_mistake_in_the_recipe(change: dict[str, object], message: str) -> None:
    """A time without meaning is an error when the recipe is read."""
    stream = {**SETTLING["stream"], **change}
    with pytest.raises(errors.ConfigurationError, match=message):
        recipe_of({**SETTLING, "stream": stream}).format()


def test_a_recipe_sets_it() -> None:
    """`settle_s` in a recipe puts the wrapper around its service."""
    recipe = recipe_of(SETTLING)
    endpoint = Endpoint.of("http://127.0.0.1:1")
    settings = Settings("s", recipe, endpoint, None, Timeouts())
    assert isinstance(compose(ScriptedProvider(), settings).inner, Settled)
