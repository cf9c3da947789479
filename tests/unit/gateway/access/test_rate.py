"""Requests per minute: never more than the limit in any minute, and an honest wait."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berlin.gateway.access.rate import MAX_KEYS, RequestRate


class Clock:
    """A clock that a test moves."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_limit_may_be_used_at_once() -> None:
    """All requests of a minute may come together; the next one waits for the first to leave."""
    clock = Clock(1000.25)
    rate = RequestRate(clock)
    assert [rate.take("k", 3) for _ in range(3)] == [0, 0, 0]
    assert rate.take("k", 3) == 60.75
    clock.now += 60.5
    assert rate.take("k", 3) == 0.25
    clock.now += 0.25
    assert [rate.take("k", 3) for _ in range(3)] == [0, 0, 0]
    assert rate.take("k", 3) > 0


def test_refused_request_does_not_count() -> None:
    """Who asks on and on while it has to wait waits no longer for it."""
    clock = Clock()
    rate = RequestRate(clock)
    assert rate.take("k", 1) == 0
    for _ in range(600):
        assert rate.take("k", 1) > 0
        clock.now += 0.1
    clock.now = 1061.0
    assert rate.take("k", 1) == 0


def test_keys_do_not_wait_for_each_other() -> None:
    """The requests of one key are not those of another."""
    rate = RequestRate(Clock())
    assert rate.take("a", 1) == 0
    assert rate.take("a", 1) > 0
    assert rate.take("b", 1) == 0


def test_limit_may_change() -> None:
    """A lower limit waits for more requests to leave, a higher one lets in at once."""
    clock = Clock()
    rate = RequestRate(clock)
    for _ in range(4):
        assert rate.take("k", 10) == 0
        clock.now += 1
    assert rate.take("k", 2) == 1002 + 61 - 1004
    assert rate.take("k", 5) == 0


@pytest.mark.parametrize("offset", [0.0, 0.3, 0.999, 30.5, 59.999])
def test_a17_no_second_burst_at_the_edge(offset: float) -> None:
    """A burst at the end of a clock's minute is not followed by one at the next's beginning."""
    clock = Clock(1199.9 + offset)
    rate = RequestRate(clock)
    assert [rate.take("k", 5) for _ in range(5)] == [0] * 5
    while clock.now < 1199.9 + offset + 60:
        assert rate.take("k", 5) > 0
        clock.now += 0.2


@given(
    limit=st.integers(1, 20),
    steps=st.lists(st.floats(0, 40), min_size=1, max_size=300),
    start=st.floats(0, 1e6),
)
def test_a17_any_minute(limit: int, steps: list[float], start: float) -> None:
    """Whenever requests come, no 60 seconds have more than the limit, and the wait is enough."""
    clock = Clock(start)
    rate = RequestRate(clock)
    let_in: deque[float] = deque()
    for step in steps:
        clock.now += step
        wait = rate.take("k", limit)
        if wait == 0:
            let_in.append(clock.now)
        else:
            assert 0 < wait <= 61.001
            clock.now += wait + 1e-6
            assert rate.take("k", limit) == 0
            let_in.append(clock.now)
        while let_in[0] <= clock.now - 60:
            let_in.popleft()
        assert len(let_in) <= limit


def test_keys_are_bounded() -> None:
    """Many keys do not fill the memory: the one that was quiet longest is forgotten."""
    rate = RequestRate(Clock())
    for key in ("first", "second"):
        assert rate.take(key, 1) == 0
    assert rate.take("first", 1) > 0
    for n in range(MAX_KEYS - 1):
        rate.take(n, 1)
    assert rate.take("first", 1) > 0
    assert rate.take("second", 1) == 0
