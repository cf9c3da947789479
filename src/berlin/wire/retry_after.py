"""When a service that refuses a request may be asked again, in the forms that services use."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_RETRY_AFTER_S = 86_400.0

_SECONDS = re.compile(r"\d{1,12}(?:\.\d{1,6})?", re.ASCII)
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,6})?", re.ASCII)
_DURATION = re.compile(
    r"(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9})ms)?", re.ASCII
)
_RESET = re.compile(r"(?:x-|anthropic-)?ratelimit-(?:(.+)-)?reset(?:-(.+))?", re.ASCII)
# What is larger is a time since the epoch, in seconds or in milliseconds.
_EPOCH_S, _EPOCH_MS = 1e9, 1e12


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait, or `None` if the service gives no valid time.

    Seconds and dates (RFC 9110, 10.2.3) and the common `retry-after-ms`; a date is measured
    against the answer's own `Date`, so a wrong clock here does no harm.
    """
    millis = headers.get("retry-after-ms", "").strip()
    if _SECONDS.fullmatch(millis):
        return min(float(millis) / 1000, LONGEST_RETRY_AFTER_S)
    value = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(value):
        return min(float(value), LONGEST_RETRY_AFTER_S)
    then = _parse_date(value)
    return None if then is None else _bounded(then - _now(headers))


def parse_reset(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until a limit has room, where there is no `Retry-After`.

    The headers of limits, such as `x-ratelimit-reset-tokens: 1m30s`: of several, only those count
    whose `remaining` is 0. A time is a duration, seconds, a time since the epoch, or RFC 3339.
    """
    found = []
    for name, value in headers.items():
        match = _RESET.fullmatch(name)
        if match is None:
            continue
        left = headers.get(name.replace("reset", "remaining"), "").strip()
        is_alone = match[1] is None and match[2] is None
        seconds = _parse_reset(value.strip(), _now(headers))
        if seconds is not None and (left == "0" or (is_alone and not left)):
            found.append(_bounded(seconds))
    return max(found, default=None)


def parse_said(text: str) -> float | None:
    """Return the seconds to wait that the text of a refusal names, as OpenAI's and Google's do."""
    match = _SAID.search(text)
    if match is None:
        return None
    if match[2] is None:
        return _parse_reset(match[1], 0.0) if _DURATION.fullmatch(match[1]) else None
    number = float(match[1]) if _SECONDS.fullmatch(match[1]) else 0.0
    return _bounded(number * (60 if match[2].lower() == "minute" else 1)) or None


# "Please try again in 6m0s.", "retry in 34.07s", "retry after 26 seconds", `"retryDelay": "34s"`.
_SAID = re.compile(
    r"(?:(?:try again|retry) (?:in|after) |\"retryDelay\"\s{0,9}:\s{0,9}\")"
    r"([0-9][0-9.hms]{0,24}(?<!\.))(?: (second|minute))?",
    re.ASCII | re.IGNORECASE,
)


def _parse_reset(value: str, now: float) -> float | None:
    if _NUMBER.fullmatch(value):
        number = float(value)
        if number >= _EPOCH_MS:
            return number / 1000 - now
        return number - now if number >= _EPOCH_S else number
    match = _DURATION.fullmatch(value)
    if match is not None and value:
        hours, minutes, seconds, millis = (float(part or 0) for part in match.groups())
        return hours * 3600 + minutes * 60 + seconds + millis / 1000
    try:
        then = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (then if then.tzinfo is not None else then.replace(tzinfo=UTC)).timestamp() - now


def _now(headers: Mapping[str, str]) -> float:
    return _parse_date(headers.get("date", "")) or time.time()


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)


def _parse_date(value: str) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
