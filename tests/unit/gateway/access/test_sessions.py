"""Sessions: the tokens of logins, their time and their memory."""

from __future__ import annotations

from berlin.gateway.access.sessions import MAX_SESSIONS, Sessions


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
