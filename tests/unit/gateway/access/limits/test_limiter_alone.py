"""Limits while the shared counters are away."""

from __future__ import annotations

from typing import cast

import pytest

from berlin.errors import OverloadedError
from berlin.gateway.access.caller import Caller
from berlin.gateway.access.limits.limiter import Limiter
from berlin.gateway.access.limits.spending import Demand
from berlin.gateway.catalog import Service, Target
from berlin.gateway.observe.visit import Visit
from berlin.providers.scripted import ScriptedProvider
from berlin.routing.counters.remote import Remote
from berlin.routing.counters.shared import SharedCounters


class _Away:
    """A Redis that is away."""

    rests = True

    def now(self) -> float:
        """Return the time."""
        return 1000.0


async def test_r02_a_limit_is_refused_clearly_while_redis_is_away() -> None:
    """This process's share of a limit is used up: the error names the limit, as it always does."""
    limiter = Limiter(counters=SharedCounters(cast(Remote, _Away())))
    caller = Caller(id="k", requests_per_minute=1)
    target = Target(Service("s", ScriptedProvider([]), ["m"]), "m")
    first, second = (Visit("POST", "/v1/chat/completions", "127.0.0.1", {}) for _ in range(2))
    assert await limiter.admit(first, caller, target, lambda: Demand(3)) is not None
    with pytest.raises(OverloadedError, match="1 request"):
        await limiter.admit(second, caller, target, lambda: Demand(3))
