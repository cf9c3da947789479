"""Sessions and the throttle: time and memory of the door."""

from __future__ import annotations

from berlin.gateway.access.sessions import MAX_SESSIONS, Sessions
from berlin.gateway.access.throttle import MAX_KEYS, Throttle


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_token_is_its_accounts() -> None:
    """Each token tells whose it is; nothing else does."""
    known = Sessions(60, Clock())
    alice, bob = known.open("alice"), known.open("bob")
    assert alice != bob
    assert (known.account(alice), known.account(bob)) == ("alice", "bob")
    for other in ("", alice[:-1], f"{alice} ", alice.lower() + "x", "\ud800"):
        assert known.account(other) is None


def test_token_expires() -> None:
    """A token is good until its lifetime is over, and use does not make it longer."""
    clock = Clock()
    known = Sessions(60, clock)
    token = known.open("alice")
    clock.now += 59.9
    assert known.account(token) == "alice"
    clock.now += 0.1
    assert known.account(token) is None


def test_later_login_does_not_end_an_earlier_one() -> None:
    """An account may be logged in from many places."""
    clock = Clock()
    known = Sessions(60, clock)
    first = known.open("alice")
    clock.now += 30
    second = known.open("alice")
    assert known.account(first) == known.account(second) == "alice"
    clock.now += 30
    assert (known.account(first), known.account(second)) == (None, "alice")


def test_sessions_are_bounded() -> None:
    """With too many sessions the oldest ends first."""
    known = Sessions(60, Clock())
    tokens = [known.open("alice") for _ in range(MAX_SESSIONS + 2)]
    assert known.account(tokens[0]) is None
    assert known.account(tokens[1]) is None
    assert known.account(tokens[2]) == "alice"
    assert known.account(tokens[-1]) == "alice"


def test_tokens_are_not_kept() -> None:
    """Whoever reads the memory of the sessions finds hashes, not tokens."""
    known = Sessions(60, Clock())
    token = known.open("alice")
    assert token not in repr(vars(known))


def test_five_failures_are_free() -> None:
    """Who mistypes a few times does not wait; from the fifth on each failure doubles the wait."""
    clock = Clock()
    throttle = Throttle(clock)
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
    throttle = Throttle(clock)
    for _ in range(6):
        throttle.fail("alice")
    clock.now += 1.5
    assert throttle.wait("alice") == 2.5


def test_keys_do_not_wait_for_each_other() -> None:
    """The failures of one do not hold up another."""
    throttle = Throttle(Clock())
    for _ in range(9):
        throttle.fail(("10.0.0.1", "alice"))
    assert throttle.wait(("10.0.0.1", "alice")) > 0
    assert throttle.wait(("10.0.0.2", "alice")) == 0
    assert throttle.wait(("10.0.0.1", "bob")) == 0


def test_success_forgets() -> None:
    """After a success the count begins anew; a success of a stranger changes nothing."""
    throttle = Throttle(Clock())
    for _ in range(4):
        throttle.fail("alice")
    throttle.succeed("alice")
    throttle.succeed("bob")
    for _ in range(4):
        throttle.fail("alice")
    assert throttle.wait("alice") == 0


def test_throttle_is_bounded() -> None:
    """Many guessers do not fill the memory: the one who was quiet longest is forgotten."""
    throttle = Throttle(Clock())
    for _ in range(6):
        throttle.fail("first")
        throttle.fail("second")
    for n in range(MAX_KEYS - 2):
        throttle.fail(n)
    throttle.fail("first")  # is heard of again
    assert throttle.wait("second") > 0
    throttle.fail("one more")
    assert throttle.wait("second") == 0
    assert throttle.wait("first") > 0
