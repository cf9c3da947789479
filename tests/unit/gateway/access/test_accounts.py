"""Accounts: who may log in, and the file that they are kept in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from berlin.errors import ConfigurationError
from berlin.gateway.access.accounts import Accounts
from berlin.types import Secret


def accounts(**passwords: str) -> Accounts:
    """Return accounts with passwords."""
    known = Accounts()
    for name, password in passwords.items():
        known.add(name, Secret(password))
    return known


async def test_only_the_right_password_is_right() -> None:
    """The right password is right; any other, another's, and that of nobody are wrong."""
    known = accounts(alice="one", bob="two")
    assert await known.verify("alice", Secret("one"))
    assert not await known.verify("alice", Secret("two"))
    assert not await known.verify("alice", Secret("one "))
    assert not await known.verify("alice", Secret(""))
    assert not await known.verify("Alice", Secret("one"))
    assert not await known.verify("nobody", Secret("one"))
    assert not await known.verify("", Secret(""))


async def test_odd_passwords() -> None:
    """Passwords are bytes: unicode, half a surrogate pair, and 1,024 bytes work; no more do."""
    for password in ("пароль 🐻", "\ud800", "x" * 1024, " ", "\0"):
        known = accounts(alice=password)
        assert await known.verify("alice", Secret(password))
    assert not await known.verify("alice", Secret("x" * 1025))


async def test_new_password_replaces_the_old_one() -> None:
    """To add an account again is to give it another password."""
    known = accounts(alice="one")
    known.add("alice", Secret("two"))
    assert known.names == ["alice"]
    assert not await known.verify("alice", Secret("one"))
    assert await known.verify("alice", Secret("two"))


async def test_removed_account_is_nobody() -> None:
    """A removed account cannot log in; to remove it again says that there was none."""
    known = accounts(alice="one", bob="two")
    assert known.remove("alice")
    assert not known.remove("alice")
    assert known.names == ["bob"]
    assert not await known.verify("alice", Secret("one"))


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\0", "a\u202eb", "x" * 129])
def test_names_that_cannot_be(name: str) -> None:
    """A name is printable and short; everything else could lie in a log."""
    with pytest.raises(ConfigurationError, match="1 to 128 printable characters"):
        Accounts().add(name, Secret("pw"))


@pytest.mark.parametrize("password", ["", "x" * 1025, "é" * 513])
def test_passwords_that_cannot_be(password: str) -> None:
    """A password has 1 to 1,024 bytes."""
    with pytest.raises(ConfigurationError, match="1 to 1024 bytes"):
        Accounts().add("alice", Secret(password))


async def test_saved_and_loaded(tmp_path: Path) -> None:
    """What was saved is what is loaded, without a password in the file."""
    path = tmp_path / "data" / "accounts.json"
    accounts(alice="top-secret", Жора="другой").save(path)
    assert "top-secret" not in path.read_text("utf-8")
    loaded = Accounts.load(path)
    assert loaded.names == ["alice", "Жора"]
    assert await loaded.verify("alice", Secret("top-secret"))
    assert await loaded.verify("Жора", Secret("другой"))


def test_no_file_is_no_accounts(tmp_path: Path) -> None:
    """Before the first account there is no file, and that is fine."""
    assert Accounts.load(tmp_path / "none.json").names == []


@pytest.mark.parametrize(
    "text",
    [
        '{"version": 2, "accounts": {}}',
        '{"accounts": {}}',
        '{"version": 1}',
        '{"version": 1, "accounts": {"alice": {"salt": "00"}}}',
        '{"version": 1, "accounts": ["alice"]}',
        "garbage",
        '{"version": 1, "accounts": {',
    ],
)
def test_file_that_is_not_ours(tmp_path: Path, text: str) -> None:
    """A file from a newer version, or a broken one, is an error that names the file (D12)."""
    path = tmp_path / "accounts.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match=f"accounts in {path} cannot be read"):
        Accounts.load(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """Accounts that another user could read or change are not used."""
    path = tmp_path / "accounts.json"
    accounts(alice="one").save(path)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="can be read by others; run: chmod 600"):
        Accounts.load(path)


def test_each_hash_has_a_salt_of_its_own(tmp_path: Path) -> None:
    """Two accounts with one password do not look alike in the file."""
    path = tmp_path / "accounts.json"
    accounts(alice="same", bob="same").save(path)
    stored = json.loads(path.read_bytes())["accounts"]
    assert stored["alice"]["salt"] != stored["bob"]["salt"]
    assert stored["alice"]["hash"] != stored["bob"]["hash"]


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A place that cannot be written is an error of ours, not a bare OSError."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="the accounts cannot be stored"):
        accounts(alice="one").save(tmp_path / "file" / "accounts.json")
