"""Fallback: the next provider answers when one cannot."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from berlin import errors
from berlin.errors import BerlinError
from berlin.providers.contract import Provider
from berlin.providers.scripted import ScriptedProvider
from berlin.routing.breaker import Breaker
from berlin.routing.fallback import Fallback
from berlin.routing.hold import Hold
from berlin.routing.model import Model
from berlin.routing.retry import Retry
from berlin.types import (
    ChatRequest,
    Finished,
    ImagePart,
    Message,
    ReasoningDelta,
    Started,
    StreamEvent,
    TextDelta,
    Tool,
    ToolCallDelta,
)

REQUEST = ChatRequest.of("Hello")
DOWN = errors.ServiceUnavailableError("down")
CUT = errors.TruncatedStreamError("cut")
LONG = errors.ContextLengthError("too long")
FILTERED = errors.ContentFilterError("no")


def says(text: str) -> list[StreamEvent | str]:
    """Return the script of a good answer."""
    return [text, Finished()]


def model(name: str, *scripts: Any, **known: Any) -> Model:
    """Return a model that plays scripts."""
    return Model(ScriptedProvider(*scripts), name, "m", **known)


def asked(provider: Model) -> list[ChatRequest]:
    """Return what a model was asked."""
    assert isinstance(provider.inner, ScriptedProvider)
    return provider.inner.requests


async def answer(
    provider: Provider, request: ChatRequest = REQUEST
) -> tuple[str, list[Started], BerlinError | None]:
    """Return the text, who answered, and how it ended."""
    text, started = "", []
    try:
        async for burst in provider.bursts(request):
            for event in burst:
                if isinstance(event, TextDelta):
                    text += event.text
                elif isinstance(event, Started):
                    started.append(event)
    except BerlinError as error:
        return text, started, error
    return text, started, None


async def test_the_first_that_works_answers() -> None:
    """The second is not asked while the first answers; the answer names who gave it."""
    first, second = model("a", says("one")), model("b", says("two"))
    text, started, error = await answer(Fallback(first, second))
    assert (text, error) == ("one", None)
    assert (started[0].provider, started[0].model, started[0].attempts) == ("a", "m", 1)
    assert asked(second) == []


@pytest.mark.parametrize(
    "kind",
    [
        errors.ConnectError,
        errors.ConnectionLostError,
        errors.UpstreamTimeoutError,
        errors.ServiceUnavailableError,
        errors.RateLimitError,
        errors.AuthenticationError,
        errors.PermissionDeniedError,
        errors.ProtocolError,
        errors.EmptyResponseError,
        errors.RedirectError,
        errors.CircuitOpenError,
        errors.LimitReachedError,
        errors.InvalidRequestError,
        errors.ContextLengthError,
    ],
)
async def test_what_another_provider_may_do_better(kind: type[BerlinError]) -> None:
    """Failures of one provider, and what only it has no place for, go to the next."""
    text, started, _ = await answer(Fallback(model("a", [kind("no")]), model("b", says("two"))))
    assert text == "two"
    assert started[0].provider == "b"
    assert [(f.provider, f.code) for f in started[0].failed] == [("a", kind.code)]


@pytest.mark.parametrize(
    "kind",
    [
        errors.RequestRejectedError,
        errors.ModelNotFoundError,
        errors.ConfigurationError,
        errors.ContentFilterError,
    ],
)
async def test_what_is_wrong_for_all(kind: type[BerlinError]) -> None:
    """A wrong request, a wrong set-up and a content filter are told, and nobody else is asked."""
    second = model("b", says("two"))
    _, _, error = await answer(Fallback(model("a", [kind("no")]), second))
    assert type(error) is kind
    assert asked(second) == []


@pytest.mark.parametrize("status", [404, 413])
async def test_what_only_one_provider_lacks(status: int) -> None:
    """A model that a service has no more, or a request too large for it, is for the next one."""
    gone = errors.RequestRejectedError("no", status=status)
    text, _, _ = await answer(Fallback(model("a", [gone]), model("b", says("two"))))
    assert text == "two"


async def test_all_fail() -> None:
    """The error is that of the first; its message names the others, and all are causes."""
    limited = errors.RateLimitError("slow down")
    provider = Fallback(model("a", [DOWN]), model("b", [limited]), model("c", [CUT]))
    _, _, error = await answer(provider)
    assert type(error) is errors.ServiceUnavailableError
    assert error.message == "down (also failed: b: rate_limited, c: upstream_truncated)"
    assert [type(cause) for cause in error.causes] == [type(DOWN), type(limited), type(CUT)]
    assert [failed.provider for failed in error.failed] == ["a", "b", "c"]


async def test_an_error_that_was_sent_says_more_than_an_open_circuit() -> None:
    """What was not even asked is never the error that is shown, if another was."""
    provider = Fallback(model("a", [errors.CircuitOpenError("open")]), model("b", [DOWN]))
    _, _, error = await answer(provider)
    assert type(error) is errors.ServiceUnavailableError


async def test_a_provider_that_lacks_something_is_passed_over() -> None:
    """Tools and images go only where they are known to be taken, or where that is not known."""
    plain = model("a", says("one"), capabilities=())
    able = model("b", says("two"), capabilities=("tools", "images"))
    unknown = model("c", says("three"))
    tools = msgspec.structs.replace(REQUEST, tools=(Tool("f"),))
    picture = ChatRequest.of([Message("user", (ImagePart("https://host.example/a.png"),))])
    for request in (tools, picture):
        assert (await answer(Fallback(plain, able), request))[0] == "two"
        assert (await answer(Fallback(plain, unknown), request))[0] == "three"
    assert asked(plain) == []


async def test_if_all_lack_it_the_first_says_so() -> None:
    """The refusal of the first says more than ours would."""
    refusal = errors.InvalidRequestError("tools: this service takes none")
    first = model("a", [refusal], capabilities=())
    tools = msgspec.structs.replace(REQUEST, tools=(Tool("f"),))
    _, _, error = await answer(Fallback(first, model("b", says("x"), capabilities=())), tools)
    assert error is not None
    assert error.message == refusal.message


async def test_a_conversation_that_is_surely_too_long_goes_to_the_larger_model() -> None:
    """A model whose room cannot suffice is not asked."""
    small, large = model("a", says("one"), context_tokens=10), model("b", says("two"))
    text, _, _ = await answer(Fallback(small, large), ChatRequest.of("word " * 100))
    assert text == "two"
    assert asked(small) == []


async def test_a_conversation_that_is_too_long_skips_what_is_no_larger() -> None:
    """After a refusal for its length only models with more room are asked."""
    small = model("a", [LONG], context_tokens=1000)
    same, large = model("b", says("b"), context_tokens=1000), model("c", says("c"))
    text, started, _ = await answer(Fallback(small, same, large))
    assert text == "c"
    assert [failed.code for failed in started[0].failed] == ["context_length_exceeded"]
    assert asked(same) == []


async def test_a_content_filter_is_routed_around_only_if_that_is_wanted() -> None:
    """Both as an error and as the end of an answer without text."""
    for script in ([FILTERED], [Finished("content_filter")]):
        second = model("b", says("two"))
        told = Fallback(model("a", script), second)
        assert (await answer(told))[0] == ""
        assert asked(second) == []
        around = Fallback(model("a", script), second, filtered_too=True)
        assert (await answer(around))[0] == "two"


async def test_after_text_the_error_is_raised() -> None:
    """What was shown is never shown again by another."""
    second = model("b", says("two"))
    text, _, error = await answer(Fallback(model("a", ["Hel", CUT]), second))
    assert text == "Hel"
    assert type(error) is type(CUT)
    assert asked(second) == []


@pytest.mark.parametrize("how", ["hold", "whole", "Hold"])
async def test_a_held_answer_is_replaced(how: str) -> None:
    """Where nothing was shown, the whole answer of another takes the place of a broken one."""
    models = model("a", ["Hel", CUT]), model("b", ["Hel", "lo", Finished()])
    provider: Provider = Fallback(*models, break_after_text="hold" if how == "hold" else "error")
    provider = Hold(provider) if how == "Hold" else provider
    request = msgspec.structs.replace(REQUEST, whole=how == "whole")
    assert (await answer(provider, request))[0] == "Hello"


async def test_an_answer_is_continued() -> None:
    """The next one gets the part as a prefix, and what it says follows; a mark says who."""
    first, second = model("a", ["One two ", CUT]), model("b", [" three", Finished()], prefill=True)
    provider = Fallback(first, second, break_after_text="continue")
    text, started, error = await answer(provider)
    assert (text, error) == ("One two three", None)
    assert [one.provider for one in started] == ["a", "b"]
    assert asked(second)[0].messages[-1] == Message.of("assistant", "One two")


@pytest.mark.parametrize(
    ("rest", "text"),
    [
        (["There was once a king who ", "slept."], "There was once a king who slept."),
        (["There ", "was once a king", " who slept."], "There was once a king who slept."),
        ([" who slept."], "There was once a king who slept."),
        (["who slept."], "There was once a king who slept."),
        (["There was once a queen."], "There was once a king There was once a queen."),
        (["There was a"], "There was once a king There was a"),
    ],
)
async def test_what_a_continuation_repeats_comes_once(rest: list[str], text: str) -> None:
    """One that begins anew instead of going on is shown from where the first broke off."""
    first = model("a", ["There was", " once a king ", CUT])
    second = model("b", [*rest, Finished()], prefill=True)
    assert (await answer(Fallback(first, second, break_after_text="continue")))[0] == text


@pytest.mark.parametrize("known", [None, False])
async def test_who_is_not_known_to_continue_is_not_asked_to(known: bool | None) -> None:
    """A prefix goes only to a model that is known to take one."""
    second = model("b", says("two"), prefill=known)
    provider = Fallback(model("a", ["Hel", CUT]), second, break_after_text="continue")
    text, _, error = await answer(provider)
    assert text == "Hel"
    assert type(error) is type(CUT)
    assert asked(second) == []


async def test_the_refusal_of_a_prefix_is_not_the_error() -> None:
    """What happened is that the answer broke off, not that another did not take the prefix."""
    second = model("b", [errors.RequestRejectedError("no prefill")], prefill=True)
    provider = Fallback(model("a", ["Hel", CUT]), second, break_after_text="continue")
    text, _, error = await answer(provider)
    assert text == "Hel"
    assert type(error) is type(CUT)


async def test_continuing_has_a_budget() -> None:
    """After so many continuations the first error is raised."""
    others = [model(f"b{n}", [f" {n}", CUT], prefill=True) for n in range(5)]
    provider = Fallback(model("a", ["a", DOWN]), *others, break_after_text="continue")
    text, _, error = await answer(provider)
    assert text == "a 0 1"
    assert type(error) is type(DOWN)


async def test_a_tool_call_is_not_continued() -> None:
    """Half a call has no place in a prefix."""
    call = ToolCallDelta(0, "id", "f", "{")
    second = model("b", says("two"), prefill=True)
    first = model("a", ["text", call, CUT])
    _, _, error = await answer(Fallback(first, second, break_after_text="continue"))
    assert type(error) is type(CUT)
    assert asked(second) == []


async def test_reasoning_of_the_one_that_goes_on_is_dropped() -> None:
    """Reasoning in the middle of a text would be taken for the beginning of a new one."""
    second = model("b", [ReasoningDelta("hm"), "lo", Finished()], prefill=True)
    provider = Fallback(model("a", ["Hel", CUT]), second, break_after_text="continue")
    events = [event async for burst in provider.bursts(REQUEST) for event in burst]
    assert not [event for event in events if isinstance(event, ReasoningDelta)]


async def test_a_request_that_begins_an_answer_skips_who_refuses_that() -> None:
    """A client's own prefix is not sent to a model that is known to refuse it."""
    first, second = model("a", says("one"), prefill=False), model("b", says("two"))
    request = ChatRequest.of([Message.of("user", "Hi"), Message.of("assistant", "Well")])
    assert (await answer(Fallback(first, second), request))[0] == "two"


async def test_later_providers_have_the_time_that_is_left() -> None:
    """`total` bounds all providers together."""
    first, second = model("a", [0.02, DOWN]), model("b", says("two"))
    await answer(Fallback(first, second))
    limits = asked(first)[0].timeouts, asked(second)[0].timeouts
    assert limits[0] is not None
    assert limits[1] is not None
    assert limits[1].total < limits[0].total - 0.01


async def test_closing_closes_all() -> None:
    """Nothing of a fallback stays open."""
    closed: list[str] = []

    class Closing(ScriptedProvider):
        async def aclose(self) -> None:
            closed.append("closed")

    await Fallback(Model(Closing()), Closing()).aclose()
    assert closed == ["closed"] * 2


async def test_it_has_the_methods_of_a_provider() -> None:
    """`ask`, `text` and the rest work on a wrapper; a whole answer is rescued to its end."""
    first, second = model("a", ["Hel", CUT]), model("b", says("two"))
    provider = Fallback(Retry(first, attempts=1), second)
    response = await provider.ask("Hello")
    assert response.text == "two"
    assert response.started is not None
    assert response.started.provider == "b"
    assert [piece async for piece in Fallback(second).text("Hello")] == ["two"]


async def test_it_works_while_one_of_them_does() -> None:
    """`working` is what the breakers have seen."""
    first, second = Breaker(model("a", [DOWN]), failures=1), Breaker(model("b", [DOWN]), failures=1)
    provider = Fallback(first, second)
    assert provider.working
    await answer(Fallback(first))
    assert (first.working, provider.working) == (False, True)
    await answer(provider)
    assert not provider.working
