"""Answers that are kept."""

from __future__ import annotations

import msgspec

from berlin.providers.contract import Burst


class Kept(msgspec.Struct, frozen=True):
    """An answer as it came.

    Attributes:
        at: when it was kept, in seconds of its store's clock.
        bursts: all of it.
    """

    at: float
    bursts: tuple[Burst, ...]
