"""Retries: bounded, patient, and never twice the same text."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing

import msgspec
import pytest

from berlin import errors
from berlin.errors import BerlinError
from berlin.providers.scripted import ScriptedProvider
from berlin.routing.fallback import Fallback
from berlin.routing.limit import Limit
from berlin.routing.retry import ATTEMPTS, LONGEST_RETRY_AFTER_S, Retry
from berlin.types import ChatRequest, Finished, Started, StreamEvent, TextDelta, Timeouts
from support.virtual_time import virtual

REQUEST = ChatRequest.of("Hello")
GOOD = ("Hello", Finished())
ANSWER = [TextDelta("Hello"), Finished()]


def busy(retry_after: float | None = None) -> BerlinError:
    """Return the error of a service that is busy."""
    return errors.RateLimitError("slow down", retry_after=retry_after)


async def answer(
    inner: ScriptedProvider, total: float = 5, jitter: float = 0.0, request: ChatRequest = REQUEST
) -> tuple[list[StreamEvent], BerlinError | None, float]:
    """Return the events but `Started`, how it ended, and how many seconds it took."""
    now = asyncio.get_running_loop().time
    retry = Retry(inner, Timeouts(total=total), jitter=lambda: jitter, clock=now)
    began = now()
    events: list[StreamEvent] = []
    try:
        async for burst in retry.bursts(request):
            events += [event for event in burst if not isinstance(event, Started)]
    except BerlinError as error:
        return events, error, now() - began
    return events, None, now() - began


@virtual
async def test_retries_of_retries_do_not_multiply() -> None:
    """Of several around each other the outermost applies."""
    inner = ScriptedProvider([errors.ServiceUnavailableError("down")])
    provider = Fallback(Retry(Limit(Retry(inner, attempts=3)), attempts=2))
    with pytest.raises(errors.ServiceUnavailableError):
        await provider.ask("Hello")
    assert len(inner.requests) == 2


@virtual
async def test_a_good_answer_is_asked_for_once() -> None:
    """What works is not asked for again."""
    inner = ScriptedProvider(GOOD)
    assert (await answer(inner))[:2] == (ANSWER, None)
    assert [request.messages for request in inner.requests] == [REQUEST.messages]


@pytest.mark.parametrize(
    "kind", [errors.RateLimitError, errors.ServiceUnavailableError, errors.ConnectionLostError]
)
@virtual
async def test_h32_what_may_pass_is_tried_again(kind: type[BerlinError]) -> None:
    """A failure that may pass is followed by another try, and the caller sees the answer only."""
    inner = ScriptedProvider([kind("no", retry_after=0.0)], GOOD)
    events, error, _ = await answer(inner)
    assert (events, error) == (ANSWER, None)
    assert len(inner.requests) == 2


@pytest.mark.parametrize(
    "kind",
    [
        errors.ConfigurationError,
        errors.InvalidRequestError,
        errors.AuthenticationError,
        errors.PermissionDeniedError,
        errors.ConnectError,
        errors.TLSError,
        errors.ProxyError,
        errors.UpstreamTimeoutError,
        errors.RequestRejectedError,
        errors.RedirectError,
        errors.ProtocolError,
        errors.EmptyResponseError,
        errors.TruncatedStreamError,
    ],
)
@virtual
async def test_h27_what_will_not_pass_is_not_tried_again(kind: type[BerlinError]) -> None:
    """Any other failure is told at once, even with a Retry-After."""
    inner = ScriptedProvider([kind("no", retry_after=0.0)], GOOD)
    events, error, _ = await answer(inner)
    assert events == []
    assert type(error) is kind
    assert len(inner.requests) == 1


@virtual
async def test_h31_three_attempts_and_no_more() -> None:
    """After three attempts the last error is told."""
    scripts = [[errors.ServiceUnavailableError(f"no {n}", retry_after=0.0)] for n in range(1, 9)]
    inner = ScriptedProvider(*scripts)
    _, error, _ = await answer(inner)
    assert error is not None
    assert error.message == "no 3"
    assert len(inner.requests) == ATTEMPTS == 3


@pytest.mark.parametrize("begin", ["Hel", Finished()])
@virtual
async def test_h13_never_after_the_first_event(begin: StreamEvent | str) -> None:
    """Once an event was handed on, a failure is told: no text comes twice."""
    inner = ScriptedProvider([begin, errors.ConnectionLostError("gone", retry_after=0.0)], GOOD)
    events, error, _ = await answer(inner)
    assert len(events) == 1
    assert type(error) is errors.ConnectionLostError
    assert len(inner.requests) == 1


@virtual
async def test_t17_not_after_the_first_event_of_the_second_attempt_either() -> None:
    """A second attempt that breaks off after some text is not followed by a third."""
    lost = errors.ConnectionLostError("gone", retry_after=0.0)
    inner = ScriptedProvider([lost], ["Hel", lost], GOOD)
    events, error, _ = await answer(inner)
    assert events == [TextDelta("Hel")]
    assert type(error) is errors.ConnectionLostError
    assert len(inner.requests) == 2


@virtual
async def test_h28_the_service_says_how_long() -> None:
    """A Retry-After is waited for in full."""
    inner = ScriptedProvider([busy(0.2)], GOOD)
    events, error, seconds = await answer(inner)
    assert (events, error) == (ANSWER, None)
    assert seconds == pytest.approx(0.2)


@virtual
async def test_h28_retry_after_goes_before_our_own_pauses() -> None:
    """A Retry-After of zero means at once, though our own pauses would be longer."""
    inner = ScriptedProvider([busy(0.0)], [busy(0.0)], GOOD)
    events, error, seconds = await answer(inner, jitter=1.0)
    assert (events, error) == (ANSWER, None)
    assert seconds == 0


@pytest.mark.parametrize("retry_after", [LONGEST_RETRY_AFTER_S + 0.1, 86_400.0, math.inf])
@virtual
async def test_h30_a_long_retry_after_is_told_instead_of_waited_for(retry_after: float) -> None:
    """A caller would rather be told than wait longer than half a minute."""
    inner = ScriptedProvider([busy(retry_after)], GOOD)
    _, error, seconds = await answer(inner, total=1e6)
    assert error is not None
    assert error.retry_after == retry_after
    assert len(inner.requests) == 1
    assert seconds == 0


@virtual
async def test_h30_a_pause_past_the_total_is_not_begun() -> None:
    """Where the pause would end after the request's time, the error comes at once."""
    inner = ScriptedProvider([busy(20.0)], GOOD)
    _, error, seconds = await answer(inner, total=10)
    assert type(error) is errors.RateLimitError
    assert error.retry_after == 20.0
    assert len(inner.requests) == 1
    assert seconds == 0


@virtual
async def test_our_own_pause_past_the_total_is_not_begun() -> None:
    """The same holds for a pause of our own."""
    inner = ScriptedProvider([busy()], GOOD)
    _, error, _ = await answer(inner, total=0.1, jitter=1.0)
    assert type(error) is errors.RateLimitError
    assert len(inner.requests) == 1


@pytest.mark.parametrize(("attempt", "longest"), [(1, 0.5), (2, 1.0), (3, 2.0), (9, 8.0)])
def test_our_own_pauses_grow_and_are_spread(attempt: int, longest: float) -> None:
    """Pauses double up to 8 s, and are spread over all of their length: full jitter."""
    for jitter in (0.0, 0.5, 0.999):
        retry = Retry(ScriptedProvider(), attempts=10, jitter=lambda jitter=jitter: jitter)
        assert retry.pause(busy(), attempt) == longest * jitter


def test_a_pause_that_the_service_names_is_not_cut_short() -> None:
    """Those who got the same Retry-After come back after it, and not all at once."""
    waits = [Retry(ScriptedProvider(), jitter=lambda j=j: j).pause(busy(10.0), 1) for j in (0, 1)]
    assert waits == [10.0, 11.0]


def test_attempts_and_the_longest_wait_can_be_chosen() -> None:
    """A provider may have its own number of attempts and its own patience."""
    retry = Retry(ScriptedProvider(), attempts=2, longest_wait_s=5, jitter=lambda: 0)
    assert (retry.pause(busy(5.0), 1), retry.pause(busy(5.1), 1)) == (5.0, None)
    assert retry.pause(busy(), 2) is None


def test_our_own_limits_are_not_tried_again() -> None:
    """A limit of ours was waited for already, and an open circuit stays open for a while."""
    retry = Retry(ScriptedProvider(), jitter=lambda: 0)
    assert retry.pause(errors.LimitReachedError("full"), 1) is None
    assert retry.pause(errors.CircuitOpenError("open"), 1) is None


@virtual
async def test_the_answer_says_how_many_requests_it_took() -> None:
    """`Started` counts all attempts, and names those that failed."""
    inner = ScriptedProvider([busy(0.0)], [errors.ServiceUnavailableError("no")], GOOD)
    first = await anext(aiter(Retry(inner, jitter=lambda: 0).bursts(REQUEST)))
    started = first[0]
    assert isinstance(started, Started)
    assert started.attempts == 3
    assert [failed.code for failed in started.failed] == ["rate_limited", "upstream_unavailable"]


@virtual
async def test_an_answer_of_the_first_attempt_says_nothing_of_attempts() -> None:
    """What costs nothing adds nothing: without a failure the events are those of the provider."""
    inner = ScriptedProvider(GOOD)
    assert await anext(aiter(Retry(inner).bursts(REQUEST))) == [TextDelta("Hello")]


@virtual
async def test_the_error_names_all_attempts() -> None:
    """The last error carries the record of every attempt."""
    _, error, _ = await answer(ScriptedProvider([errors.ServiceUnavailableError("no")]))
    assert error is not None
    assert [failed.code for failed in error.failed] == ["upstream_unavailable"] * 3


@virtual
async def test_a_whole_answer_is_asked_for_again_when_it_breaks_off() -> None:
    """Where nothing is shown before the end, a break in the middle is no reason to give up."""
    inner = ScriptedProvider(["Hel", errors.ConnectionLostError("gone")], GOOD)
    whole = msgspec.structs.replace(REQUEST, whole=True)
    events, error, _ = await answer(inner, request=whole)
    assert (events, error) == (ANSWER, None)


@virtual
async def test_later_attempts_have_the_time_that_is_left() -> None:
    """`total` bounds all attempts together; the other limits are the same for each."""
    inner = ScriptedProvider([busy(0.1)], GOOD)
    request = ChatRequest.of("Hello", timeout=Timeouts(connect=1, first_event=2, idle=3, total=4))
    await answer(inner, total=1000, request=request)
    first, second = (asked.timeouts for asked in inner.requests)
    assert first == request.timeouts
    assert second is not None
    assert (second.connect, second.first_event, second.idle) == (1, 2, 3)
    assert second.total == pytest.approx(3.9)


@virtual
async def test_c30_cancelled_while_waiting() -> None:
    """A cancelled request does not finish its pause."""
    inner = ScriptedProvider([busy(5.0)], GOOD)
    task = asyncio.create_task(answer(inner, total=100))
    while not inner.requests:
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    began = asyncio.get_running_loop().time()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.get_running_loop().time() == began
    assert len(inner.requests) == 1


@virtual
async def test_c01_leaving_closes_the_inner_answer() -> None:
    """Who leaves in the middle closes what is below, at once."""
    inner = ScriptedProvider(["a", "b", Finished()])
    bursts = Retry(inner, Timeouts()).bursts(REQUEST)
    assert await anext(bursts) == [TextDelta("a")]
    await bursts.aclose()
    assert inner.closed == 1


@virtual
async def test_an_error_of_the_consumer_is_not_ours_to_retry() -> None:
    """What goes wrong between two bursts closes the answer, and nothing is asked again."""
    inner = ScriptedProvider(["a", Finished()])
    with pytest.raises(KeyError):
        async with aclosing(Retry(inner, Timeouts()).bursts(REQUEST)) as bursts:
            async for _ in bursts:
                raise KeyError("mine")
    assert len(inner.requests) == 1
    assert inner.closed == 1


@virtual
async def test_an_answer_that_has_failed_is_at_its_end() -> None:
    """Whoever asks on behind an error gets the end, as from a generator, and no new attempt."""
    inner = ScriptedProvider([errors.ProtocolError("no")])
    bursts = Retry(inner, Timeouts()).bursts(REQUEST)
    with pytest.raises(errors.ProtocolError):
        await anext(bursts)
    assert await anext(bursts, None) is None
    assert len(inner.requests) == 1


@virtual
async def test_an_answer_that_was_closed_is_never_asked_for() -> None:
    """Closing before the first burst leaves nothing to ask for."""
    inner = ScriptedProvider(GOOD)
    bursts = Retry(inner, Timeouts()).bursts(REQUEST)
    await bursts.aclose()
    assert await anext(bursts, None) is None
    assert inner.requests == []


@virtual
async def test_other_operations_are_repeated_in_the_same_way() -> None:
    """A token is asked for up to three times, after the pauses that the service names."""
    failures = [busy(0.0), errors.ServiceUnavailableError("down", retry_after=0.0)]

    async def work() -> str:
        if failures:
            raise failures.pop()
        return "token"

    retry = Retry(ScriptedProvider(GOOD))
    assert await retry.call(work) == "token"
    failures[:] = [busy(0.0)] * 3
    with pytest.raises(errors.RateLimitError):
        await retry.call(work)
    failures[:] = [busy(LONGEST_RETRY_AFTER_S + 1)]
    with pytest.raises(errors.RateLimitError):
        await retry.call(work)
    assert failures == []
