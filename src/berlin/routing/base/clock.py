"""Time and chance as values that are given, so that a test can give others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Seconds on a monotonic clock."""

Chance: TypeAlias = Callable[[], float]
"""A number from 0 to 1, 1 excluded."""
