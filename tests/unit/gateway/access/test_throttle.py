"""The throttle: who guesses waits, in bounded memory that cannot be flushed."""

from __future__ import annotations

from berlin.gateway.access.throttle import (
    CELLS,
    MAX_FORGIVEN,
    ROWS,
    SKETCH_BYTES,
    Pace,
    Sketch,
    Throttle,
)
from support.clock import Clock


def test_five_failures_are_free() -> None:
    """Who mistypes a few times does not wait; from the fifth on each failure doubles the wait."""
    clock = Clock()
    throttle = Throttle(clock=clock)
    waits = []
    for _ in range(14):
        throttle.fail("alice")
        waits.append(throttle.wait("alice"))
        clock.now += waits[-1]
        assert throttle.wait("alice") == 0
    assert waits == [0, 0, 0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_wait_passes() -> None:
    """The wait gets shorter as time goes on."""
    clock = Clock()
    throttle = Throttle(clock=clock)
    for _ in range(6):
        throttle.fail("alice")
    clock.now += 1.5
    assert throttle.wait("alice") == 2.5


def test_keys_do_not_wait_for_each_other() -> None:
    """The failures of one do not hold up another."""
    throttle = Throttle(clock=Clock())
    for _ in range(9):
        throttle.fail(("10.0.0.1", "alice"))
    assert throttle.wait(("10.0.0.1", "alice")) > 0
    assert throttle.wait(("10.0.0.2", "alice")) == 0
    assert throttle.wait(("10.0.0.1", "bob")) == 0


def test_success_forgets() -> None:
    """After a success the count begins anew; a success of a stranger changes nothing."""
    throttle = Throttle(clock=Clock())
    for _ in range(4):
        throttle.fail("alice")
    throttle.succeed("alice")
    throttle.succeed("bob")
    for _ in range(4):
        throttle.fail("alice")
    assert throttle.wait("alice") == 0


def test_made_up_keys_do_not_flush_a_victim() -> None:
    """After 20,000 failures under made-up keys a guesser still waits as long as before."""
    throttle = Throttle(clock=Clock())
    for _ in range(12):
        throttle.fail(("10.0.0.1", "ann"))
    wait = throttle.wait(("10.0.0.1", "ann"))
    for n in range(20_000):
        throttle.fail(("10.0.0.1", f"nobody{n}"))
    assert throttle.wait(("10.0.0.1", "ann")) >= wait


def test_a_flood_of_keys_does_not_fill_the_memory() -> None:
    """The cells are all there is; who succeeded is remembered for so many keys only."""
    throttle = Throttle(clock=Clock())
    for n in range(MAX_FORGIVEN + 5):
        throttle.succeed(n)
    assert not throttle.has_succeeded(4)
    assert throttle.has_succeeded(5)
    assert len(throttle._counts) == ROWS * CELLS
    assert throttle._counts.nbytes + throttle._failed_at.nbytes < 800_000


def test_a_flood_does_not_hold_up_others() -> None:
    """With 3,000 made-up keys in the cells nearly nobody else counts as one of them."""
    throttle = Throttle(Pace(free=0), clock=Clock())
    for n in range(3_000):
        throttle.fail(n)
    held_up = sum(throttle.wait(("other", n)) > 0 for n in range(1_000))
    assert held_up < 20


def test_who_succeeded_is_not_held_up_by_others_in_its_cells() -> None:
    """A key that succeeded counts its own failures only."""
    throttle = Throttle(clock=Clock())
    throttle.succeed("ann")
    for cell in throttle._cells("ann"):
        throttle._counts[cell] = 50
        throttle._failed_at[cell] = 10_000.0
    assert throttle.wait("ann") == 0
    for _ in range(5):
        throttle.fail("ann")
    assert throttle.wait("ann") == 2


def test_failures_are_forgotten() -> None:
    """An hour after the last failure the count begins anew."""
    clock = Clock()
    throttle = Throttle(clock=clock)
    for _ in range(9):
        throttle.fail("ann")
    clock.now += 3_601
    assert throttle.wait("ann") == 0
    throttle.fail("ann")
    assert throttle.wait("ann") == 0


def test_workers_count_together() -> None:
    """Failures at one worker make a key wait at another, too."""
    memory, clock = memoryview(bytearray(SKETCH_BYTES)), Clock()
    one, two = (Throttle(clock=clock, sketch=Sketch(memory, b"s" * 16)) for _ in range(2))
    for throttle in (one, two, one, two, one):
        throttle.fail("alice")
    assert one.wait("alice") == two.wait("alice") == 2
    assert two.wait("bob") == 0
