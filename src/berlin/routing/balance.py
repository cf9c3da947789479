"""Distributes requests among equivalent providers."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from berlin.providers.contract import Provider
from berlin.routing.base.clock import Chance, Clock
from berlin.routing.base.load import Load
from berlin.routing.base.wrapper import is_working
from berlin.routing.fallback import Fallback
from berlin.types import ChatRequest

By: TypeAlias = Literal["latency", "busy", "weight"]


class Balance(Fallback):
    """Tries one of several providers; if it fails before its first event, the next one.

    Two are drawn by weight and the better one is used: as good as comparing all, without a stampede
    to the one that was best a moment ago. Failing providers come last.

    Args:
        *providers: the providers to choose from.
        weights: their shares; equal by default.
        by: the criterion. `latency`: the shorter time to the first event, multiplied by open
            requests; `busy`: fewer open requests; `weight`: the first one drawn.
        chance: numbers from 0 to 1.
        clock: a monotonic clock, in seconds.
        options: those of `Fallback`.
    """

    def __init__(
        self,
        *providers: Provider,
        weights: Sequence[float] | None = None,
        by: By = "latency",
        chance: Chance = random.random,
        clock: Clock = time.monotonic,
        **options: Any,
    ) -> None:
        shares = tuple(weights) if weights is not None else (1.0,) * len(providers)
        if len(shares) != len(providers) or not all(share > 0 for share in shares):
            raise ValueError("Balance needs one positive weight for each provider")
        self.loads = [Load(p, w, clock) for p, w in zip(providers, shares, strict=True)]
        super().__init__(*self.loads, clock=clock, **options)
        self._by = by
        self._chance = chance

    def order(self, request: ChatRequest) -> Sequence[Provider]:
        """Return the providers in the order in which they will be tried."""
        working = [load for load in self.loads if is_working(load)]
        drawn = self._draw(working)
        if self._by != "weight":
            drawn[:2] = sorted(drawn[:2], key=lambda load: self._score(load))
        return drawn + [load for load in self.loads if load not in drawn]

    def _score(self, load: Load) -> float:
        return load.slow if self._by == "latency" else load.busy

    def _draw(self, loads: Sequence[Load]) -> list[Load]:
        """Return the loads in an order drawn by their weights."""
        keyed = [(self._chance() ** (1 / load.weight), n, load) for n, load in enumerate(loads)]
        return [load for _, _, load in sorted(keyed, reverse=True)]
