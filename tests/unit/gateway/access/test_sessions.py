"""Sessions: the tokens of logins, their time and their memory."""

from __future__ import annotations

from berlin.gateway.access.sessions import Sessions


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
    """With too many sessions the one ends that was not used for the longest time."""
    known = Sessions(60, Clock(), most=10)
    tokens = [known.open("alice") for _ in range(10)]
    assert known.account(tokens[0]) == "alice"
    known.open("alice")
    assert len(known) == 10
    assert [known.account(token) for token in tokens[:3]] == ["alice", None, "alice"]


def test_nobody_ends_the_sessions_of_others() -> None:
    """An account that logs in again and again ends sessions of its own only."""
    known = Sessions(60, Clock(), most=1_000)
    victim = known.open("bob")
    for _ in range(1_002):
        known.open("mallory")
    assert len(known) == 1_000
    assert known.account(victim) == "bob"


def test_expired_sessions_are_forgotten() -> None:
    """A login forgets the expired sessions of its account, and a use an expired one."""
    clock = Clock()
    known = Sessions(60, clock)
    tokens = [known.open("alice") for _ in range(5)]
    clock.now += 61
    assert known.account(tokens[2]) is None
    assert len(known) == 4
    known.open("alice")
    assert len(known) == 1


def test_all_sessions_of_an_account_end() -> None:
    """What ends the sessions of one account leaves those of others."""
    known = Sessions(60, Clock())
    alice, bob = known.open("alice"), known.open("bob")
    known.end_all("alice")
    known.end_all("nobody")
    assert (known.account(alice), known.account(bob)) == (None, "bob")


def test_tokens_are_not_kept() -> None:
    """Whoever reads the memory of the sessions finds hashes, not tokens."""
    known = Sessions(60, Clock())
    token = known.open("alice")
    assert token not in repr(vars(known))
