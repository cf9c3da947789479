"""The clock of the machine is set by an hour, forwards or backwards, while the gateway runs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from berlin.gateway.access.key_reader import KeyReader
from berlin.gateway.access.keys import KeyStore
from berlin.gateway.access.logins import PAIR_PACE
from berlin.gateway.access.sessions import Sessions
from berlin.gateway.access.throttle import Throttle

HOUR_S = 3600.0
JUMPS = [HOUR_S, -HOUR_S]


class Clocks:
    """The wall clock and the monotonic one."""

    def __init__(self) -> None:
        self.wall, self.monotonic = 1_000_000.0, 50.0

    def passes(self, seconds: float, jump: float = 0.0) -> None:
        """Let time pass, and set the wall clock."""
        self.monotonic += seconds
        self.wall += seconds + jump


@pytest.mark.parametrize("jump", JUMPS)
def test_wrong_passwords_wait_as_long(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait of a throttle neither ends early nor grows."""
    clocks = Clocks()
    monkeypatch.setattr(time, "time", lambda: clocks.wall)
    throttle = Throttle(PAIR_PACE, lambda: clocks.monotonic)
    for _ in range(PAIR_PACE.free + 1):
        throttle.fail("a")
    clocks.passes(1.0, jump)
    assert throttle.wait("a") == pytest.approx(PAIR_PACE.first_wait_s - 1.0)


@pytest.mark.parametrize("jump", JUMPS)
def test_keys_are_read_as_often(jump: float, tmp_path: Path) -> None:
    """A revoked key is refused within a second, and one that expires follows the wall clock."""
    clocks = Clocks()
    store = KeyStore(tmp_path / "data" / "keys.sqlite", lambda: clocks.wall)
    ends = store.add("ends", expires_at=clocks.wall + 0.5 * HOUR_S)[1].reveal()
    stays = store.add("stays")[1].reveal()
    reader = KeyReader(
        tmp_path / "data" / "keys.sqlite", lambda: clocks.wall, lambda: clocks.monotonic
    )
    clocks.passes(1.0, jump)
    assert reader.find(stays) is not None
    assert (reader.find(ends) is None) is (jump > 0)
    store.revoke("stays")
    clocks.passes(1.0)
    assert reader.find(stays) is None
    reader.close()


@pytest.mark.parametrize("jump", JUMPS)
def test_sessions_follow_the_wall_clock(jump: float) -> None:
    """A session ends when the clock says so, also if it was set; a new one lasts its full time."""
    clocks = Clocks()
    sessions = Sessions(0.5 * HOUR_S, lambda account: b"x", clock=lambda: clocks.wall)
    before = sessions.open("ann", b"x")
    clocks.passes(1.0, jump)
    assert (sessions.account(before) is None) is (jump > 0)
    after = sessions.open("ann", b"x")
    clocks.passes(0.5 * HOUR_S - 1)
    assert sessions.account(after) == "ann"
    clocks.passes(2.0)
    assert sessions.account(after) is None
