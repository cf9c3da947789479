"""Circuits of several workers: one probe, and an open circuit is open for all."""

from __future__ import annotations

from pathlib import Path

from berlin.gateway.workers.circuits import SharedPlace
from berlin.routing.base.circuit import GRANTED, Circuit, Permit


async def test_one_state_for_all(tmp_path: Path) -> None:
    """What one worker learns, the others know: open, one probe, closed again."""
    now = [100.0]
    first, second = (
        Circuit(lambda: now[0], 3, 10.0, SharedPlace(tmp_path / "circuit")) for _ in "ab"
    )
    assert (first.state, await second.admit()) == ("closed", GRANTED)
    for circuit in (first, second, first):
        circuit.fail(GRANTED)
    assert (first.state, second.state) == ("open", "open")
    assert await second.admit() == Permit(granted=False, wait_s=10.0)
    now[0] += 10
    probe = await first.admit()
    assert probe.probe
    assert not (await second.admit()).granted
    first.succeed(probe)
    assert (second.state, await second.admit()) == ("closed", GRANTED)
    second.succeed(GRANTED)
    first.rest(5)
    assert not (await second.admit()).granted
