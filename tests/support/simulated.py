"""Services of a simulation: they fail, slow down and recover by a schedule, on the loop's clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import NamedTuple

from berlin import errors
from berlin.providers.contract import Burst
from berlin.providers.stopwatch import Stopwatch
from berlin.types import ChatRequest, Finished, TextDelta, Timeouts, Usage, UsageReport

PIECES = 4


class Phase(NamedTuple):
    """How a service behaves until a time.

    Attributes:
        until: end of the phase, in seconds.
        kind: `good`, `down`, `busy`, `refused`, `reset`, `silent`, `cut`, `stall`, `malformed`,
            `long` (the context) or `prefill` (it refuses one).
        first_s: seconds until the first event.
        gap_s: seconds between two.
    """

    until: float
    kind: str = "good"
    first_s: float = 0.1
    gap_s: float = 0.1


GOOD = Phase(float("inf"))


class Seen(NamedTuple):
    """A request as a service saw it."""

    at: float
    service: str
    request_id: str
    prefix: int


@dataclass
class SimulatedService:
    """A service with a schedule; each piece of its text says for whom and which it is."""

    name: str
    phases: tuple[Phase, ...] = (GOOD,)
    timeouts: Timeouts = Timeouts()  # noqa: RUF009  # frozen
    prefills: bool | None = None
    seen: list[Seen] = field(default_factory=list)
    open: int = 0
    most_open: int = 0

    def phase(self) -> Phase:
        """Return the phase of this moment."""
        now = asyncio.get_running_loop().time()
        return next((phase for phase in self.phases if now < phase.until), GOOD)

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Answer as the phase says."""
        phase, last = self.phase(), request.messages[-1]
        begun = len(last.text.split()) if last.role == "assistant" else 0
        now = asyncio.get_running_loop().time()
        self.seen.append(Seen(now, self.name, request.request_id, begun))
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            with Stopwatch(request.timeouts or self.timeouts) as watch:
                await watch.wait(asyncio.sleep(phase.first_s))
                if phase.kind == "silent":
                    await watch.wait(asyncio.sleep(10_000))
                self._refuse(phase, begun)
                for n in range(begun, PIECES):
                    watch.progress()
                    yield [TextDelta(f"{request.request_id}.{n} ")]
                    if n == PIECES // 2:
                        await self._break(phase, watch)
                    await watch.wait(asyncio.sleep(phase.gap_s))
                watch.progress()
                yield [UsageReport(Usage(5, PIECES)), Finished()]
        finally:
            self.open -= 1

    def _refuse(self, phase: Phase, begun: int) -> None:
        match phase.kind:
            case "down":
                raise errors.ServiceUnavailableError("503", status=503)
            case "busy":
                raise errors.RateLimitError("429", status=429, retry_after=2.0)
            case "refused":
                raise errors.ConnectError("nobody listens")
            case "reset":
                raise errors.ConnectionLostError("reset")
            case "long":
                raise errors.ContextLengthError("too long", status=400)
            case "prefill" if begun:
                raise errors.RequestRejectedError("no prefill", status=400)

    async def _break(self, phase: Phase, watch: Stopwatch) -> None:
        match phase.kind:
            case "cut":
                raise errors.TruncatedStreamError("cut")
            case "malformed":
                raise errors.ProtocolError("malformed")
            case "stall":
                await watch.wait(asyncio.sleep(10_000))

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""
