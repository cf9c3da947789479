"""Whether a provider works is observed, not written down."""

from __future__ import annotations

import pytest

from berlin import errors
from berlin.errors import BerlinError
from berlin.providers.scripted import ScriptedProvider
from berlin.routing.health import Health
from berlin.routing.retry import Retry
from berlin.types import ChatRequest, Finished, TextDelta, Timeouts

REQUEST = ChatRequest.of("Hello")

FAULTS = [
    errors.TransportError,
    errors.ConnectError,
    errors.TLSError,
    errors.ProxyError,
    errors.ConnectionLostError,
    errors.UpstreamTimeoutError,
    errors.ServiceError,
    errors.ServiceUnavailableError,
    errors.RewrittenError,
    errors.RedirectError,
    errors.ProtocolError,
    errors.EmptyResponseError,
    errors.TruncatedStreamError,
]
NO_FAULTS = [
    errors.ConfigurationError,
    errors.MissingCredentialsError,
    errors.TokenStoreError,
    errors.InvalidRequestError,
    errors.ModelNotFoundError,
    errors.KeyRefusedError,
    errors.OverloadedError,
    errors.LimitReachedError,
    errors.BudgetReachedError,
    errors.UnavailableError,
    errors.AuthenticationError,
    errors.PermissionDeniedError,
    errors.RequestRejectedError,
    errors.ContextLengthError,
    errors.ContentFilterError,
    errors.RateLimitError,
    errors.QuotaError,
    errors.CircuitOpenError,
    errors.InvalidAnswerError,
]


async def ask(health: Health) -> BerlinError | None:
    """Ask once; return the error that it ended with."""
    try:
        async for _ in health.bursts(REQUEST):
            pass
    except BerlinError as error:
        return error
    return None


async def test_nothing_is_broken_until_it_was_seen() -> None:
    """Before the first request, and after a good one, a provider works."""
    health = Health(ScriptedProvider())
    assert health.working is True
    assert await ask(health) is None
    assert health.working is True


@pytest.mark.parametrize("kind", FAULTS)
async def test_a_fault_of_the_service(kind: type[BerlinError]) -> None:
    """What the service is to blame for means that it does not work, until the next success."""
    inner = ScriptedProvider([kind("no")], ["Hello", Finished()])
    health = Health(inner)
    assert type(await ask(health)) is kind
    assert health.working is False
    assert await ask(health) is None
    assert health.working is True


@pytest.mark.parametrize("kind", NO_FAULTS)
async def test_a_fault_of_the_caller(kind: type[BerlinError]) -> None:
    """What the caller is to blame for, or a limit, tells nothing: neither broken nor mended."""
    broken = errors.ServiceUnavailableError("no")
    health = Health(ScriptedProvider([kind("no")], [broken], [kind("no")]))
    assert type(await ask(health)) is kind
    assert health.working is True
    await ask(health)
    assert health.working is False
    assert type(await ask(health)) is kind
    assert health.working is False


def test_every_class_of_error_is_tested_here() -> None:
    """The two lists are all errors of the tree, but for its root."""
    known = {getattr(errors, name) for name in dir(errors) if name.endswith("Error")}
    assert known - {BerlinError} == {*FAULTS, *NO_FAULTS}


async def test_a_fault_in_the_middle_of_an_answer() -> None:
    """An answer that breaks off after some text counts as a fault."""
    health = Health(ScriptedProvider(["Hel", errors.ConnectionLostError("gone")]))
    assert type(await ask(health)) is errors.ConnectionLostError
    assert health.working is False


async def test_a_caller_who_leaves_tells_nothing() -> None:
    """Leaving in the middle closes the answer, and neither breaks nor mends anything."""
    inner = ScriptedProvider([errors.ServiceUnavailableError("no")], ["a", "b", Finished()])
    health = Health(inner)
    await ask(health)
    bursts = health.bursts(REQUEST)
    assert await anext(bursts) == [TextDelta("a")]
    await bursts.aclose()
    assert health.working is False
    assert inner.closed == 1


async def test_what_a_retry_mends_was_no_fault() -> None:
    """Only the end of all attempts counts."""
    fault = errors.ServiceUnavailableError("no", retry_after=0.0)
    good = ScriptedProvider([fault], ["Hello", Finished()])
    health = Health(Retry(good, Timeouts(total=5)))
    seen: list[bool] = []
    async for _ in health.bursts(REQUEST):
        seen.append(health.working)
    assert seen == [True, True]
    always = Health(Retry(ScriptedProvider([fault]), Timeouts(total=5)))
    assert type(await ask(always)) is errors.ServiceUnavailableError
    assert always.working is False
