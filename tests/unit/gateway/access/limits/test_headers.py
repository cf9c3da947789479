"""What clients are told of their limits, in the form of each vendor."""

from __future__ import annotations

import pytest

from berlin.config.tables.limits import LimitsConfig, parse_rule
from berlin.gateway.access.caller import Caller
from berlin.gateway.access.limits.bounds import Bound, bounds_of
from berlin.gateway.access.limits.headers import Level, go_duration, headers_of_levels
from berlin.routing.counters.contract import Sliding
from berlin.routing.counters.learned import Learned


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.012, "12ms"), (1, "1s"), (6.5, "6.5s"), (360, "6m0s"), (3723, "1h2m3s"), (59.9999, "1m0s")],
)
def test_durations_of_openai(seconds: float, text: str) -> None:
    """Durations are written as OpenAI does."""
    assert go_duration(seconds) == text


def level(text: str, used: int, resets_s: float = 30.0) -> Level:
    """Return how much of a limit is used."""
    return Level(Bound(parse_rule(text), "this key", "key:k", "k", Sliding(60)), used, resets_s)


def test_headers_of_each_dialect() -> None:
    """OpenAI's clients read durations, Anthropic's read times; the tightest limit is shown."""
    levels = [
        level("100 requests/minute", 1),
        level("10 requests/hour", 5),
        level("90,000 tokens/minute", 100_000),
        level("2.50 USD/day", 1_250_000_000),
    ]
    assert headers_of_levels(levels, "openai", 0.0, 101) == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "5",
        "x-ratelimit-reset-requests": "30s",
        "x-ratelimit-limit-tokens": "90000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "30s",
        "x-berlin-budget-limit": "2.50",
        "x-berlin-budget-remaining": "1.25",
        "x-berlin-budget-reset": "1970-01-01T00:00:30Z",
    } | {"x-berlin-limit-warning": "100% of 90,000 tokens/minute of this key used; resets in 30s"}
    told = headers_of_levels(levels[:1], "anthropic", 0.0, 80)
    assert told == {
        "anthropic-ratelimit-requests-limit": "100",
        "anthropic-ratelimit-requests-remaining": "99",
        "anthropic-ratelimit-requests-reset": "1970-01-01T00:00:30Z",
    }


def test_which_limits_hold() -> None:
    """Those of the key, of its user or of each user, and of the model; of two alike the smaller."""
    config = LimitsConfig(
        keys=("5 requests/minute",),
        users={"ann": ("1 USD/day",), "*": ("2 USD/day",)},
        models={"s:*": ("9 tokens/hour",), "t:m": ("8 tokens/hour",)},
    )
    ann = Caller(id="a", user="ann", limits=("3 requests/day on s:m1",), requests_per_minute=7)
    bob = Caller(id="b", user="bob")

    def texts(caller: Caller | None, model: str) -> list[str]:
        return [bound.rule.text for bound in bounds_of(config, caller, model)]

    assert texts(ann, "S:M1") == [
        *("3 requests/day on s:m1", "5 requests/minute"),
        *("1 USD/day", "9 tokens/hour"),
    ]
    assert texts(ann, "t:m")[:2] == ["5 requests/minute", "1 USD/day"]
    assert texts(bob, "u:x") == ["5 requests/minute", "2 USD/day"]
    assert texts(None, "t:m") == ["8 tokens/hour"]


def test_what_is_learned() -> None:
    """What is expected is the 95th percentile of the latest values, of the first known name."""
    learned = Learned(1000)
    assert learned.expect(("key", "model")) == 1000
    learned.learn(7, ("model",))
    assert learned.expect(("key", "model")) == 7
    for n in range(1, 101):
        learned.learn(n, ("key", "model"))
    assert learned.expect(("key", "model")) == 97
