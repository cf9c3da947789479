"""What the head of an answer means: `Retry-After` in all its forms, and the status."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from berlin.errors import (
    ProxyError,
    QuotaError,
    RateLimitError,
    RedirectError,
    ServiceUnavailableError,
)
from berlin.wire.retry_after import (
    LONGEST_RETRY_AFTER_S,
    parse_reset,
    parse_retry_after,
    parse_said,
)
from berlin.wire.status import error_from_answer

NOW = "Sun, 06 Nov 1994 08:49:37 GMT"
SOON = "Sun, 06 Nov 1994 08:50:07 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("5", 5.0),
        ("  7 ", 7.0),
        ("1.5", 1.5),
        ("007", 7.0),
        ("86400", 86_400.0),
        ("999999999999", LONGEST_RETRY_AFTER_S),
    ],
)
def test_h28_seconds(value: str, seconds: float) -> None:
    """Seconds are taken, with a fraction too, up to a day."""
    assert parse_retry_after({"retry-after": value}) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *("", "-1", "-0", "+5", "nan", "NaN", "inf", "Infinity", "1e9", "1_000", "0x10", "5 s"),
        *("soon", ".5", "5.", "1,5", "9" * 40, "Sun, 99 Nov 1994 08:49:37 GMT", "5\r\n6"),
    ],
)
def test_h30_what_makes_no_sense(value: str) -> None:
    """Anything else is as if the service had said nothing: the usual pauses apply."""
    assert parse_retry_after({"retry-after": value}) is None


@pytest.mark.parametrize(
    "date",
    [
        SOON,
        "Sunday, 06-Nov-94 08:50:07 GMT",
        "Sun Nov  6 08:50:07 1994",
        "Sun, 06 Nov 1994 09:50:07 +0100",
    ],
)
def test_h29_a_date_is_measured_against_the_date_of_the_answer(
    date: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The three forms of RFC 9110 count from the answer's own `Date`, whatever our clock says."""
    monkeypatch.setenv("TZ", "UTC")  # the third form names no zone
    time.tzset()
    assert parse_retry_after({"retry-after": date, "date": NOW}) == 30.0


def test_h29_a_date_in_the_past() -> None:
    """A date that has passed means: at once."""
    assert parse_retry_after({"retry-after": NOW, "date": SOON}) == 0.0


def test_h29_a_date_far_away() -> None:
    """A date in the far future is cut at a day."""
    headers = {"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT", "date": NOW}
    assert parse_retry_after(headers) == LONGEST_RETRY_AFTER_S


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_h29_a_date_without_a_date_to_measure_against(
    date: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a `Date` of the answer, our clock has to do."""
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    then = formatdate(1_800_001_000, usegmt=True)
    seconds = parse_retry_after({"retry-after": then, "date": date})
    assert seconds == 1000


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "-250", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "soon"}, None),
        ({"retry-after-ms": "999999999999"}, LONGEST_RETRY_AFTER_S),
        ({}, None),
    ],
)
def test_milliseconds(headers: dict[str, str], seconds: float | None) -> None:
    """`retry-after-ms` goes first where it makes sense."""
    assert parse_retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-reset": "30"}, 30.0),
        ({"x-ratelimit-reset": "784111807"}, LONGEST_RETRY_AFTER_S),
        ({"x-ratelimit-reset": "1784111807", "date": "Wed, 15 Jul 2026 10:36:17 GMT"}, 30.0),
        ({"x-ratelimit-reset": "1784111807000", "date": "Wed, 15 Jul 2026 10:36:17 GMT"}, 30.0),
        (
            {"x-ratelimit-reset": "2026-07-15T10:36:47Z", "date": "Wed, 15 Jul 2026 10:36:17 GMT"},
            30,
        ),
        ({"ratelimit-reset": "30"}, 30.0),
        ({"x-ratelimit-reset-tokens": "1m30s", "x-ratelimit-remaining-tokens": "0"}, 90.0),
        ({"x-ratelimit-reset-tokens": "1h2m3.5s", "x-ratelimit-remaining-tokens": "0"}, 3723.5),
        ({"x-ratelimit-reset-tokens": "250ms", "x-ratelimit-remaining-tokens": "0"}, 0.25),
        (
            {
                "x-ratelimit-reset-tokens": "9s",
                "x-ratelimit-remaining-tokens": "5",
                "x-ratelimit-reset-requests": "3s",
                "x-ratelimit-remaining-requests": "0",
            },
            3.0,
        ),
        (
            {
                "anthropic-ratelimit-requests-reset": "1994-11-06T08:50:07Z",
                "anthropic-ratelimit-requests-remaining": "0",
                "date": NOW,
            },
            30.0,
        ),
        ({"x-ratelimit-reset": "5", "x-ratelimit-remaining": "7"}, None),
        ({"x-ratelimit-reset-tokens": "9s"}, None),
        ({"x-ratelimit-reset": "soon"}, None),
        ({"x-ratelimit-reset": ""}, None),
        ({"x-ratelimit-reset": "-5"}, None),
        ({"x-ratelimit-reset": "1999-01-01"}, 0.0),
        ({}, None),
    ],
)
def test_the_reset_of_a_limit(headers: dict[str, str], seconds: float | None) -> None:
    """Without `Retry-After`, the limit that is used up says when it has room."""
    assert parse_reset(headers) == seconds
    error = error_from_answer(429, {"retry-after": "1", **headers}, "slow")
    assert error.retry_after == 1.0
    assert error_from_answer(429, headers, "slow").retry_after == seconds
    assert error_from_answer(503, headers, "slow").retry_after is None


def test_the_error_of_an_answer() -> None:
    """The error of an answer carries its status, the delay, and the service's id."""
    headers = {"retry-after": "3", "x-request-id": "r-1"}
    error = error_from_answer(429, headers, "slow down")
    assert type(error) is RateLimitError
    assert error.message == "the service answers 429: slow down"
    assert (error.status, error.retry_after, error.request_id) == (429, 3.0, "r-1")


def test_an_answer_that_says_nothing() -> None:
    """An empty body is told as such."""
    error = error_from_answer(503, {}, "")
    assert type(error) is ServiceUnavailableError
    assert error.message == "the service answers 503: without a message"
    assert error.retry_after is None


def test_a_redirect_shows_neither_its_page_nor_its_target() -> None:
    """A redirect says why it is not followed and what to do."""
    error = error_from_answer(302, {"location": "https://evil.example"}, "page")
    assert type(error) is RedirectError
    assert "never followed" in error.message
    assert "final URL" in error.message
    assert "evil" not in error.message


def test_the_refusal_of_a_proxy() -> None:
    """A 407 is the proxy's."""
    assert type(error_from_answer(407, {}, "")) is ProxyError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Rate limit reached for gpt-5. Please try again in 2s.", 2.0),
        ("Please try again in 6m0s. Visit https://a.example", 360.0),
        ("try again in 350ms", 0.35),
        ("Please retry in 34.074824224s.", 34.074824224),
        ("Please retry after 26 seconds.", 26.0),
        ("Try again in 5 minutes", 300.0),
        ('{"details": [{"retryDelay": "34s"}]}', 34.0),
        ("Please try again in a moment", None),
        ("try again in 5", None),
        ("retry in 1.2.3s", None),
        ("", None),
    ],
)
def test_h28_a_time_that_the_text_names(text: str, seconds: float | None) -> None:
    """Services that send no header may say in words how long to wait."""
    assert parse_said(text) == seconds


def test_a_quota_that_has_room_again_soon_is_a_rate_limit() -> None:
    """Google calls its limits per minute a quota and says when to ask again."""
    said = "You exceeded your current quota, please check your plan and billing details."
    error = error_from_answer(429, {}, said, f"{said} Please retry in 34s.".encode())
    assert (type(error), error.retry_after) == (RateLimitError, 34.0)
    assert type(error_from_answer(429, {}, said, said.encode())) is QuotaError
