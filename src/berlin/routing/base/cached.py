"""Cached answers."""

from __future__ import annotations

import msgspec

from berlin.providers.contract import Burst


class CachedAnswer(msgspec.Struct, frozen=True):
    """An answer as received.

    Attributes:
        at: when it was stored, by its store's clock in seconds.
        bursts: all its bursts.
    """

    at: float
    bursts: tuple[Burst, ...]
