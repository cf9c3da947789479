"""Faults of HTTP, part 3: statuses that are no success."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from berlin import Timeouts, errors
from support.fault_play import play
from support.fault_steps import Script, answer, line, stream

GOOD = stream(line("a"))
HTML = b"<!doctype html><html><h1>Sorry</h1>" + b"<p>Something broke. " * 500 + b"</html>"
NOW = 1_700_000_000


def busy(*headers: str) -> Script:
    """Answer 429."""
    return answer("429 Too Many Requests", b'{"message":"slow down"}', *headers)


async def test_H25_400_with_html() -> None:
    """A rejected request is told with its status and the beginning of the page, no more."""
    seen = await play(answer("400 Bad Request", HTML, "Content-Type: text/html"))
    message = seen.failed_with(errors.RequestRejectedError)
    assert seen.error is not None
    assert seen.error.status == 400
    assert message.startswith("the service answers 400: <!doctype html>")
    assert len(message) <= len("the service answers 400: ") + 300
    assert len(seen.chats) == 1


async def test_H26_403() -> None:
    """A 403 is a lack of permission: it makes no new login and no second try."""
    seen = await play(answer("403 Forbidden", b'{"message":"not for you"}'))
    assert "not for you" in seen.failed_with(errors.PermissionDeniedError)
    assert seen.error is not None
    assert seen.error.status == 403
    assert (len(seen.logins), len(seen.chats)) == (1, 1)


@pytest.mark.parametrize("status", [404, 405, 409, 413, 415, 418, 422, 451])
async def test_H27_rejected(status: int) -> None:
    """A request that is rejected is not sent again."""
    seen = await play(answer(f"{status} No", b'{"error":{"message":"will not do"}}'))
    assert "will not do" in seen.failed_with(errors.RequestRejectedError)
    assert seen.error is not None
    assert seen.error.status == status
    assert (len(seen.logins), len(seen.chats)) == (1, 1)


async def test_H28_429_with_seconds() -> None:
    """The seconds that the service asks for are waited."""
    seen = await play(busy("Retry-After: 1"), GOOD)
    assert seen.text == "a"
    assert 1 in seen.passed
    assert len(seen.chats) == 2


async def test_H28_429_with_too_many_seconds() -> None:
    """Who asks for minutes is not waited for: the error tells the delay."""
    seen = await play(busy("Retry-After: 120"), GOOD)
    assert "slow down" in seen.failed_with(errors.RateLimitError)
    assert seen.error is not None
    assert seen.error.retry_after == 120
    assert seen.error.status == 429
    assert len(seen.chats) == 1


async def test_H29_429_with_a_date() -> None:
    """A date is measured against the answer's own clock, which may be wrong by years."""
    dates = (
        f"Date: {formatdate(NOW, usegmt=True)}",
        f"Retry-After: {formatdate(NOW + 1, usegmt=True)}",
    )
    seen = await play(busy(*dates), GOOD)
    assert seen.text == "a"
    assert 1 in seen.passed


async def test_H29_429_with_a_date_far_away() -> None:
    """A date that is too far away is told instead of waited for."""
    dates = (
        f"Date: {formatdate(NOW, usegmt=True)}",
        f"Retry-After: {formatdate(NOW + 300, usegmt=True)}",
    )
    seen = await play(busy(*dates), GOOD)
    seen.failed_with(errors.RateLimitError)
    assert seen.error is not None
    assert seen.error.retry_after == 300
    assert len(seen.chats) == 1


async def test_H29_429_with_a_date_in_the_past() -> None:
    """A date that has passed means now."""
    dates = (
        f"Date: {formatdate(NOW, usegmt=True)}",
        f"Retry-After: {formatdate(NOW - 300, usegmt=True)}",
    )
    seen = await play(busy(*dates), GOOD)
    assert seen.text == "a"
    assert len(seen.chats) == 2


@pytest.mark.parametrize("value", ["-1", "NaN", "inf", "1e9", "soon", "", "Tue, 99 Foo 2024", "٩٩"])
async def test_H30_429_with_nonsense(value: str) -> None:
    """A Retry-After that makes no sense is as good as none: a short pause, then again."""
    as_utf8 = value.encode().decode("latin-1")
    seen = await play(busy(f"Retry-After: {as_utf8}"), GOOD)
    assert seen.text == "a"


@pytest.mark.parametrize("value", ["1000000000", "999999999999"])
async def test_H30_429_with_years(value: str) -> None:
    """A delay of years is capped at a day, told, and not waited for."""
    seen = await play(busy(f"Retry-After: {value}"), GOOD)
    seen.failed_with(errors.RateLimitError)
    assert seen.error is not None
    assert seen.error.retry_after == 86_400


async def test_H30_429_past_the_deadline() -> None:
    """A pause that would pass the total limit is not begun."""
    limits = Timeouts(connect=5, first_event=5, idle=5, total=8)
    seen = await play(busy("Retry-After: 9"), GOOD, timeouts=limits)
    seen.failed_with(errors.RateLimitError)
    assert seen.error is not None
    assert seen.error.retry_after == 9
    assert len(seen.chats) == 1


async def test_H31_429_always() -> None:
    """Who is always busy is asked three times."""
    seen = await play(busy())
    assert "slow down" in seen.failed_with(errors.RateLimitError)
    assert seen.error is not None
    assert seen.error.retry_after is None
    assert (len(seen.logins), len(seen.chats)) == (1, 3)


@pytest.mark.parametrize("status", [500, 502, 503, 529])
async def test_H32_5xx_once(status: int) -> None:
    """A failure before any text is tried again, unseen, with the same request."""
    seen = await play(answer(f"{status} Oops", HTML), GOOD)
    assert seen.text == "a"
    first, second = seen.chats
    assert first.headers["token"] == second.headers["token"]
    assert len(seen.logins) == 1


@pytest.mark.parametrize("status", [500, 502, 507])
async def test_H33_5xx_always(status: int) -> None:
    """A service that always fails is asked three times."""
    seen = await play(answer(f"{status} Oops", b"boom"))
    assert seen.failed_with(errors.ServiceUnavailableError) == f"the service answers {status}: boom"
    assert seen.error is not None
    assert seen.error.status == status
    assert len(seen.chats) == 3


async def test_H33_504() -> None:
    """A gateway's time-out is a time-out, and not tried again."""
    seen = await play(answer("504 Gateway Timeout", b"upstream was slow"))
    assert "upstream was slow" in seen.failed_with(errors.UpstreamTimeoutError)
    assert len(seen.chats) == 1


async def test_H34_503_with_html() -> None:
    """A page of an error is shown up to 300 characters."""
    seen = await play(answer("503 Service Unavailable", HTML, "Content-Type: text/html"))
    message = seen.failed_with(errors.ServiceUnavailableError)
    assert message.startswith("the service answers 503: <!doctype html>")
    assert len(message) <= len("the service answers 503: ") + 300
    assert len(seen.chats) == 3


async def test_H34_503_at_the_login() -> None:
    """A login that fails is tried again like a chat, and no chat is sent without a token."""
    seen = await play(GOOD, logins=[answer("503 Service Unavailable", HTML)])
    seen.failed_with(errors.ServiceUnavailableError)
    assert (len(seen.logins), len(seen.chats)) == (3, 0)
