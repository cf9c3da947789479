"""Time and randomness as injected values, so that tests can replace them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Seconds on a monotonic clock."""

Chance: TypeAlias = Callable[[], float]
"""A random number from 0 to 1, excluding 1."""
