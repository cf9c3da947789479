"""Counts the lines of Python that some work takes: its cost, whatever else the machine does."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

from berlin.errors import BerlinError


def count_lines(work: Callable[..., object], *arguments: object) -> int:
    """Return how many lines of Python run in some work; it may be refused."""
    count = 0

    def trace(frame: Any, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with contextlib.suppress(BerlinError):
            work(*arguments)
    finally:
        sys.settrace(before)
    return count
