"""The response headers that say how much of a limit is left, as clients of each vendor read them.

OpenAI: https://platform.openai.com/docs/guides/rate-limits (durations such as `6m0s`). Anthropic:
https://docs.anthropic.com/en/api/rate-limits (RFC 3339).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache

import msgspec

from berlin.config.tables.limits import MONEY_PLACES, Unit
from berlin.gateway.access.limits.bounds import Bound
from berlin.gateway.answering import printable
from berlin.routing.counters.contract import Calendar, Sliding


class Level(msgspec.Struct, frozen=True):
    """The state of a limit.

    Attributes:
        bound: the limit.
        used: what is used, with what is reserved.
        resets_s: seconds until there is room again; `None` is until its period ends, or until all
            of its window has passed.
        own: what this request has reserved of it: it may cost less, so no warning counts it.
    """

    bound: Bound
    used: int
    resets_s: float | None = None
    own: int = 0

    @property
    def share(self) -> float:
        """The share that is used or reserved; 1 is all."""
        return self.used / self.bound.rule.amount


def headers_of_levels(
    levels: Sequence[Level], face: str, now: float, warn_percent: float
) -> dict[str, str]:
    """Return the headers for limits; of several that count the same, the tightest is shown.

    Args:
        levels: the limits.
        face: the name of the client's dialect.
        now: seconds since the epoch.
        warn_percent: from which share on a header warns.
    """
    tightest: dict[Unit, Level] = {}
    worst, most = None, warn_percent / 100
    for level in levels:
        rule = level.bound.rule
        other = tightest.setdefault(rule.unit, level)
        if other is not level and level.share > other.share:
            tightest[rule.unit] = level
        spent = (level.used - level.own) / rule.amount
        if spent >= most:
            worst, most = level, spent
    headers: dict[str, str] = {}
    for unit, level in tightest.items():
        limit, remaining, reset = _names(unit, face)
        amount, resets_s = level.bound.rule.amount, _resets_s(level, now)
        write = _money if unit == "money" else str
        headers[limit] = write(amount)
        headers[remaining] = write(max(amount - level.used, 0))
        headers[reset] = go_duration(resets_s) if reset.endswith(unit) else rfc3339(now + resets_s)
    if worst is not None:
        headers["x-berlin-limit-warning"] = printable(
            f"{min(most, 1):.0%} of {worst.bound.rule.text} of {worst.bound.owner} used; "
            f"resets in {go_duration(_resets_s(worst, now))}"
        )
    return headers


def _resets_s(level: Level, now: float) -> float:
    window = level.bound.window
    if level.resets_s is not None:
        return level.resets_s
    if isinstance(window, Calendar):
        return max(window.bounds(now)[1] - now, 0.001)
    return window.span_s if isinstance(window, Sliding) else 1.0


@cache
def _names(unit: Unit, face: str) -> tuple[str, ...]:
    """Return the names of the headers for the limit, what is left, and when it resets."""
    before, after = "x-ratelimit-", f"-{unit}"
    if unit == "money":
        before, after = "x-berlin-budget-", ""
    elif face == "anthropic":
        before, after = f"anthropic-ratelimit-{unit}-", ""
    return tuple(f"{before}{what}{after}" for what in ("limit", "remaining", "reset"))


def _money(amount: int) -> str:
    exact = Decimal(amount).scaleb(-MONEY_PLACES)
    return f"{exact:.2f}" if exact == round(exact, 2) else f"{exact.normalize():f}"


def rfc3339(at: float) -> str:
    """Return a time in seconds since the epoch as text, in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def go_duration(seconds: float) -> str:
    """Return a duration as OpenAI writes it: `12ms`, `6.5s`, `6m0s`, `1h2m3s`."""
    if seconds < 1:
        return f"{max(round(seconds * 1000), 1)}ms"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
    hours, rest = divmod(whole, 3600)
    return (f"{hours}h" if hours else "") + f"{rest // 60}m{rest % 60}s"
