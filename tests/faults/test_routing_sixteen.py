"""The sixteen faults of routing, over real sockets: each is rescued by a second provider."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import NamedTuple

import pytest

from berlin import Berlin, Fallback, Retry, errors
from berlin.opening import open_provider
from berlin.routing.base.circuit import Circuit
from berlin.types import Started, StreamEvent, TextDelta, Timeouts, UsageReport
from support.answers import SSE
from support.clock import Clock
from support.fault_server import FaultServer
from support.fault_steps import (
    Close,
    Hang,
    Reset,
    Script,
    Send,
    Wait,
    answer,
    begin_stream,
    chunk,
)
from support.gateway import ANTHROPIC, OPENAI, RECIPE, Answer, frame
from support.routing import GOOD, WORDS, services

WHOLE = "".join(WORDS)
HOLD = """
fallback = ["bad:m1", "good:m1"]
retry = { attempts = 2 }
first_event_s = 1.0
idle_s = 1.0
break_after_text = "hold"
content_filter = "fallback"
"""
PART = begin_stream(*(frame(word) for word in WORDS[:4]), headers=(SSE,))


def failed(code: str, message: str) -> bytes:
    """Return the body of an error in OpenAI's form."""
    return json.dumps({"error": {"message": message, "code": code}}).encode()


BUSY = answer("429 Slow", failed("rate_limit_exceeded", "slow down"))
BUSY_LONG = answer("429 Slow", failed("rate_limit_exceeded", "slow"), "Retry-After: 60")
OOPS = answer("500 Oops", failed("internal", "oops"))
DOWN = answer("503 Down", b"<h1>down</h1>", "Content-Type: text/html")
LONG = answer("400 No", failed("context_length_exceeded", "maximum context length is 8192 tokens"))
FILTERED = answer("400 No", failed("content_filter", "the content management policy says no"))
NO_PREFILL = answer("400 No", failed("invalid_request", "this model takes no prefill"))


def text_of(got: Answer) -> str:
    """Return the text of an answer, streamed or whole."""
    return "".join(OPENAI.pieces(got.data)) or got.text


class Fault(NamedTuple):
    """A fault of the first provider.

    Attributes:
        scripts: what it does.
        by: who answers in the end.
        asked: how often the first one was asked, at most.
    """

    scripts: list[Script]
    by: str = "good"
    asked: int = 2


FAULTS: dict[str, Fault] = {
    "01 429 with Retry-After": Fault([BUSY_LONG], asked=1),
    "02 429 without": Fault([BUSY]),
    "03 500 once": Fault([OOPS, GOOD], by="bad"),
    "04 503 for ever": Fault([DOWN]),
    "05 reset before the headers": Fault([(Reset(),)]),
    "06 silence": Fault([(Hang(),)], asked=1),
    "07 late first token": Fault([(Wait(3), *GOOD)], asked=1),
    "08 cut at two thirds": Fault([(*PART, Close())]),
    "09 stall in the middle": Fault([(*PART, Hang())], asked=1),
    "10 malformed event": Fault([(*PART, Send(chunk(b"data: {nonsense\n\n")))], asked=1),
    "12 context length": Fault([LONG], asked=1),
    "13 content filter": Fault([FILTERED], asked=1),
}


@pytest.mark.parametrize("case", FAULTS)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_rescued_in_the_gateway(tmp_path: Path, case: str, stream: bool) -> None:
    """The client gets the whole answer, with the name and the usage of the one who gave it."""
    fault = FAULTS[case]
    async with services(tmp_path, HOLD, bad=fault.scripts, good=[GOOD]) as both:
        usage = {"stream_options": {"include_usage": True}} if stream else {}
        got = await both.at.ask(OPENAI, model="smart", stream=stream, **usage)
        assert got.status == 200, got.data
        assert text_of(got) == WHOLE
        assert both.asked("bad") <= fault.asked
    assert got.headers["x-berlin-model"] == "smart"
    assert got.headers["x-berlin-provider"] == fault.by
    documents = OPENAI.documents(got.data) if stream else [json.loads(got.data)]
    assert {document["model"] for document in documents} == {f"{fault.by}:m1"}
    told = next(d["usage"] for d in documents if d.get("usage"))
    assert (told["prompt_tokens"], told["completion_tokens"]) == (11, 6)
    (visit,) = both.seen.visits
    assert visit.outcome == "ok"
    assert (visit.provider, visit.answered_by) == ("smart", fault.by)
    assert int(got.headers["x-berlin-attempts"]) == visit.attempts
    assert visit.attempts == both.asked("bad") + both.asked("good")
    assert visit.failed


@pytest.mark.parametrize("case", FAULTS)
async def test_rescued_in_python(tmp_path: Path, case: str) -> None:
    """The same from a program: one answer, the name and the usage of the one who gave it."""
    fault = FAULTS[case]
    async with services(tmp_path, HOLD, bad=fault.scripts, good=[GOOD]) as both:
        events = await ask(both.config)
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == WHOLE
    assert isinstance(events[0], Started)
    assert (events[0].provider, events[0].model) == (fault.by, "m1")
    (usage,) = [e.usage for e in events if isinstance(e, UsageReport)]
    assert (usage.input_tokens, usage.output_tokens) == (11, 6)


@pytest.mark.parametrize("case", FAULTS)
async def test_rescued_by_wrappers(tmp_path: Path, case: str) -> None:
    """The same again from objects that a program puts together, without a configuration."""
    fault = FAULTS[case]
    async with FaultServer(*fault.scripts) as bad, FaultServer(GOOD) as good:
        parts = []
        for name, server in (("bad", bad), ("good", good)):
            recipe = tmp_path / f"{name}.toml"
            recipe.write_text(RECIPE.format(name=name, url=server.url, format="openai-chat"))
            parts.append(
                Berlin(
                    recipe=str(recipe),
                    api_key="key",
                    model="m1",
                    timeout=Timeouts(2, 1.0, 1.0, 20),
                    allow_http=True,
                )
            )
        first, second = parts
        # A program that waits has to say so: nobody else knows that another one can answer.
        retry = Retry(first, attempts=2, longest_wait_s=2)
        async with Fallback(retry, second, break_after_text="hold", filtered_too=True) as either:
            response = await either.ask("Hi")
        assert response.text == WHOLE
        assert response.started is not None
        assert response.started.provider == fault.by
        assert len(bad.requests) <= fault.asked
        assert response.started.attempts == len(bad.requests) + len(good.requests)


async def ask(config: object) -> list[StreamEvent]:
    """Ask the model `smart` of a configuration; return the events."""
    async with open_provider("smart", config) as model:
        return [event async for event in model.stream("Hi")]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_11_no_mark_of_the_end(tmp_path: Path, stream: bool) -> None:
    """A stream that says why it ended is whole without `[DONE]`; one that does not is replaced."""
    finish = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    frames = [frame(word) for word in WORDS]
    silent = [*begin_stream(*frames, headers=(SSE,)), Send(b"0\r\n\r\n")]
    said = [*begin_stream(*frames, finish, headers=(SSE,)), Send(b"0\r\n\r\n")]
    for script in (tuple(silent), tuple(said)):
        async with services(tmp_path, HOLD, bad=[script], good=[GOOD]) as both:
            got = await both.at.ask(OPENAI, model="smart", stream=stream)
        assert got.status == 200
        assert text_of(got) == WHOLE


async def test_14_the_second_refuses_a_prefill(tmp_path: Path) -> None:
    """With `hold` it is never asked to go on; with `continue` its refusal is not the error."""
    cut = (*PART, Close())
    async with services(tmp_path, HOLD, bad=[cut], good=[GOOD]) as both:
        got = await both.at.ask(OPENAI, model="smart", stream=True)
        assert "".join(OPENAI.pieces(got.data)) == WHOLE
        roles = [m["role"] for m in json.loads(both.chats("good")[0].body)["messages"]]
        assert roles == ["user"]
    model = """
fallback = ["bad:m1", { model = "good:m1", prefill = true }]
break_after_text = "continue"
"""
    async with services(tmp_path, model, bad=[cut], good=[NO_PREFILL]) as both:
        got = await both.at.ask(OPENAI, model="smart", stream=True)
    assert "".join(OPENAI.pieces(got.data)) == "".join(WORDS[:4])
    assert "the connection to the service broke (after" in OPENAI.error_in(got.data)
    assert "prefill" not in got.data.decode()


async def test_08_continued_by_one_that_takes_a_prefix(tmp_path: Path) -> None:
    """Every word once: the part goes to the second as the beginning of its answer."""
    model = """
fallback = ["bad:m1", { model = "good:m1", prefill = true }]
break_after_text = "continue"
"""
    finish = (
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    rest = (
        *begin_stream(frame(" five "), frame("six."), finish, headers=(SSE,)),
        Send(b"0\r\n\r\n"),
    )
    async with services(tmp_path, model, bad=[(*PART, Close())], good=[rest]) as both:
        got = await both.at.ask(OPENAI, model="smart", stream=True)
        sent = json.loads(both.chats("good")[0].body)["messages"]
    assert "".join(OPENAI.pieces(got.data)) == WHOLE
    assert sent[-1] == {"role": "assistant", "content": "One two three four"}
    (visit,) = both.seen.visits
    assert (visit.answered_by, visit.attempts, visit.outcome) == ("good", 2, "ok")


async def test_15_a_provider_that_is_down_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left alone after five failures, probed by one request at a time, and used again."""
    clock, init = Clock(), Circuit.__init__
    monkeypatch.setattr(Circuit, "__init__", lambda self, _, *rest: init(self, clock, *rest))
    more = "breaker = { failures = 3, cool_down_s = 60 }"
    model = 'fallback = ["bad:m1", "good:m1"]\nretry = { attempts = 1 }'
    scripts = [DOWN] * 4 + [GOOD]
    async with services(tmp_path, model, more, bad=scripts, good=[GOOD]) as both:
        by = []
        for _ in range(20):
            by.append((await both.at.ask(OPENAI, model="smart")).headers["x-berlin-provider"])
        assert by == ["good"] * 20
        assert both.asked("bad") == 3
        before = both.asked("bad")
        page = (await both.at.get("/metrics")).data.decode()
        assert 'berlin_circuit{provider="bad"} 2.0' in page
        assert 'berlin_fallbacks_total{model="smart"} 20.0' in page
        clock.now += 61
        answers = await asyncio.gather(*(both.at.ask(OPENAI, model="smart") for _ in range(5)))
        assert all(answer.status == 200 for answer in answers)
        assert both.asked("bad") - before <= 1 + sum(
            a.headers["x-berlin-provider"] == "bad" for a in answers
        )
        clock.now += 61
        last = [await both.at.ask(OPENAI, model="smart") for _ in range(3)]
        assert last[-1].headers["x-berlin-provider"] == "bad"


async def test_16_accounting(tmp_path: Path) -> None:
    """Failed attempts are no completions: one request, one answer, and its own usage."""
    async with services(tmp_path, HOLD, bad=[DOWN], good=[GOOD]) as both:
        got = await both.at.ask(OPENAI, model="smart")
        page = (await both.at.get("/metrics")).data.decode()
    assert got.headers["x-berlin-attempts"] == "3"
    (visit, *_) = both.seen.visits
    assert visit.usage is not None
    assert (visit.usage.input_tokens, visit.usage.output_tokens) == (11, 6)
    assert [attempt.code for attempt in visit.failed] == ["upstream_unavailable"] * 2
    done = 'berlin_requests_total{face="openai",outcome="ok",provider="smart",status="200"} 1.0'
    assert done in page
    series = 'berlin_failed_attempts_total{code="upstream_unavailable",provider="bad"} 2.0'
    assert series in page


async def test_all_fail(tmp_path: Path) -> None:
    """The error is that of the first, with its status, and how often was tried."""
    async with services(tmp_path, HOLD, bad=[DOWN], good=[BUSY_LONG]) as both:
        got = await both.at.ask(OPENAI, model="smart")
    assert got.status == 502
    assert got.headers["x-berlin-attempts"] == "3"
    (visit,) = both.seen.visits
    assert visit.error is not None
    assert "also failed: good: rate_limited" in visit.error.message


async def test_a_client_is_told_that_a_held_answer_goes_on(tmp_path: Path) -> None:
    """Nothing of the text comes before its end, but the connection does not stay silent."""
    slow = (*begin_stream(*(frame(w) for w in WORDS), headers=(SSE,)), Wait(0.7), *GOOD[-2:])
    model = 'use = "bad:m1"\nbreak_after_text = "hold"'
    async with services(tmp_path, model, keep_alive_s=0.2, bad=[slow]) as both:
        got = await both.at.ask(OPENAI, model="smart", stream=True)
        other = await both.at.ask(ANTHROPIC, model="smart", stream=True)
    first = got.data.index(b"One ")
    assert got.data[:first].count(b"data: ") >= 3
    assert "".join(OPENAI.pieces(got.data)) == WHOLE
    assert b"event: ping" in other.data


async def test_after_text_the_default_is_an_error(tmp_path: Path) -> None:
    """It says what happened and how much had come; the other provider is not asked."""
    model = 'fallback = ["bad:m1", "good:m1"]'
    async with services(tmp_path, model, bad=[(*PART, Close())], good=[GOOD]) as both:
        got = await both.at.ask(OPENAI, model="smart", stream=True)
        assert both.asked("good") == 0
    said = OPENAI.error_in(got.data)
    assert said == "the connection to the service broke (after 5 events of the answer)"
    assert not OPENAI.is_whole(got.data)
    with pytest.raises(errors.BerlinError):
        await ask(both.config)
