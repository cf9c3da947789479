"""Sessions: the tokens of logins, their signatures and their time."""

from __future__ import annotations

import base64

from berlin.gateway.access.sessions import Sessions
from support.clock import Clock

PASSWORDS = {"alice": b"hash of alice", "bob": b"hash of bob"}


def sessions(clock: Clock | None = None, key: bytes | None = None) -> Sessions:
    return Sessions(60, PASSWORDS.get, key, clock or Clock())


def test_token_is_its_accounts() -> None:
    """Each token says whose it is; nothing else does."""
    known = sessions()
    alice, bob = known.open("alice", PASSWORDS["alice"]), known.open("bob", PASSWORDS["bob"])
    assert alice != known.open("alice", PASSWORDS["alice"])
    assert (known.account(alice), known.account(bob)) == ("alice", "bob")
    for other in ("", alice[:-1], f"{alice} ", alice.swapcase(), "\ud800", "A" * 100_000, "AAAA"):
        assert known.account(other) is None


def test_every_changed_byte_is_noticed() -> None:
    """A token with another account, time or signature is refused."""
    known = sessions()
    token = known.open("alice", PASSWORDS["alice"])
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        assert known.account(base64.urlsafe_b64encode(changed).decode().rstrip("=")) is None


def test_token_expires() -> None:
    """A token is good until its lifetime is over, and use does not make it longer."""
    clock = Clock()
    known = sessions(clock)
    token = known.open("alice", PASSWORDS["alice"])
    clock.now += 59.9
    assert known.account(token) == "alice"
    clock.now += 0.1
    assert known.account(token) is None


def test_later_login_does_not_end_an_earlier_one() -> None:
    """An account may be logged in from many places, and nobody ends the sessions of others."""
    known = sessions()
    first = known.open("alice", PASSWORDS["alice"])
    for _ in range(1000):
        known.open("bob", PASSWORDS["bob"])
    second = known.open("alice", PASSWORDS["alice"])
    assert known.account(first) == known.account(second) == "alice"


def test_processes_with_one_key() -> None:
    """A process with the same key accepts a token; one with another key does not."""
    token = sessions(key=b"k" * 32).open("alice", PASSWORDS["alice"])
    assert sessions(key=b"k" * 32).account(token) == "alice"
    assert sessions(key=b"l" * 32).account(token) is None
    assert sessions().account(token) is None


def test_all_sessions_of_an_account_end() -> None:
    """Another password, or none, ends the sessions of an account and leaves those of others."""
    passwords = dict(PASSWORDS)
    known = Sessions(60, passwords.get, clock=Clock())
    alice, bob = known.open("alice", PASSWORDS["alice"]), known.open("bob", PASSWORDS["bob"])
    passwords["alice"] = b"another"
    assert (known.account(alice), known.account(bob)) == (None, "bob")
    del passwords["bob"]
    assert known.account(bob) is None


def test_the_key_is_not_in_tokens() -> None:
    """A token contains neither the key nor what the password's hash is."""
    token = sessions(key=b"k" * 32).open("alice", PASSWORDS["alice"])
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert b"kkkk" not in raw
    assert PASSWORDS["alice"] not in raw
