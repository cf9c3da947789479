"""Where logins are kept."""

from __future__ import annotations

import stat
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend

from berlin.auth.tokens.login_store import LoginStore, StoredLogin
from berlin.errors import ConfigurationError

LOGIN = StoredLogin("https://a.example", {"account": "alice", "password": "pass-of-alice"})
OTHER = StoredLogin("https://b.example", {"account": "bob", "password": "pass-of-bob"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the file is."""
    return tmp_path / "data" / "logins.json"


def test_saved_and_loaded(path: Path) -> None:
    """Without a keyring a login is kept in a file, which the store names."""
    store = LoginStore(path)
    assert store.save("work", LOGIN) == str(path)
    assert LoginStore(path).load("work") == (LOGIN, str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_stored(path: Path) -> None:
    """Before the first login there is nothing, and looking makes no file."""
    store = LoginStore(path)
    assert store.load("work") is None
    assert store.delete("work") is False
    assert not path.parent.exists()


def test_one_login_for_each_provider(path: Path) -> None:
    """A login replaces the earlier one of its provider, and no other."""
    store = LoginStore(path)
    store.save("work", LOGIN)
    store.save("home", LOGIN)
    store.save("work", OTHER)
    assert store.load("work") == (OTHER, str(path))
    assert store.load("home") == (LOGIN, str(path))


def test_deleted_login_is_gone(path: Path) -> None:
    """A deleted login is not on the disk any more, and the others are."""
    store = LoginStore(path)
    store.save("work", LOGIN)
    store.save("home", OTHER)
    assert store.delete("work") is True
    assert store.load("work") is None
    assert store.load("home") == (OTHER, str(path))
    assert "pass-of-alice" not in path.read_text()
    assert store.delete("work") is False


def test_repr_shows_no_password() -> None:
    """A stored login can be printed."""
    assert repr(LOGIN) == "StoredLogin('https://a.example', account, password)"
    assert "pass-of-alice" not in f"{LOGIN} {LOGIN!r} {[LOGIN]}"


def test_credentials_tell_their_source() -> None:
    """The credentials of a login say where they were kept."""
    credentials = LOGIN.credentials("the keyring")
    assert (credentials.account, credentials.source) == ("alice", "the keyring")
    assert credentials.password.reveal() == "pass-of-alice"


@pytest.mark.parametrize(
    "text", ["garbage", "[]", '{"work": 7}', '{"work": {"url": "x"}}', '{"work": {', "\0"]
)
def test_file_that_is_not_ours(path: Path, text: str) -> None:
    """A broken file is an error, and neither a login nor a logout overwrites it."""
    path.parent.mkdir(mode=0o700)
    path.write_text(text)
    path.chmod(0o600)
    store = LoginStore(path)
    with pytest.raises(ConfigurationError, match="the stored logins cannot be read"):
        store.load("work")
    with pytest.raises(ConfigurationError, match="the stored logins cannot be read"):
        store.save("work", LOGIN)
    with pytest.raises(ConfigurationError, match="the stored logins cannot be read"):
        store.delete("work")
    assert path.read_text() == text


def test_empty_file_holds_nothing(path: Path) -> None:
    """An empty file is as none."""
    path.parent.mkdir(mode=0o700)
    path.touch(0o600)
    path.chmod(0o600)
    assert LoginStore(path).load("work") is None


def test_link_and_open_file_are_refused(path: Path, tmp_path: Path) -> None:
    """A link and a file that others can read are errors of ours that say what to do."""
    store = LoginStore(path)
    store.save("work", LOGIN)
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="can be read by others; run: chmod 600"):
        store.load("work")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="symbolic link"):
        store.load("work")
    with pytest.raises(ConfigurationError, match="symbolic link"):
        store.save("work", LOGIN)


class MemoryKeyring(KeyringBackend):
    """A keyring for the length of a test."""

    # The library knows each class of this kind; below 0 it is never chosen unless a test sets it.
    priority = -1  # type: ignore[assignment]  # a property of the class in the library

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def memory() -> object:
    """Use a keyring that works."""
    before = keyring.get_keyring()
    backend = MemoryKeyring()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


def test_keyring_goes_before_the_file(path: Path, memory: MemoryKeyring) -> None:
    """Where there is a keyring, nothing is written to the disk."""
    store = LoginStore(path)
    assert store.save("work", LOGIN) == "the keyring"
    assert store.load("work") == (LOGIN, "the keyring")
    assert not path.exists()
    assert list(memory.kept) == [("berlin-llm", "work")]
    assert store.delete("work") is True
    assert store.load("work") is None
    assert store.delete("work") is False


def test_login_from_before_the_keyring_is_found(path: Path) -> None:
    """A login in the file still works when a keyring is there, and a logout forgets both."""
    store = LoginStore(path)
    store.save("work", LOGIN)
    before = keyring.get_keyring()
    backend = MemoryKeyring()
    keyring.set_keyring(backend)
    try:
        assert store.load("work") == (LOGIN, str(path))
        store.save("work", OTHER)
        assert store.load("work") == (OTHER, "the keyring")
        assert store.delete("work") is True
        assert store.load("work") is None
    finally:
        keyring.set_keyring(before)
    assert store.load("work") is None


def test_a_login_is_looked_up_now_and_then(tmp_path: Path) -> None:
    """A stored login is asked for once in a while only; that there is none is asked each time."""
    path = tmp_path / "logins.json"
    store = LoginStore(path)
    assert store.load_recent("berlin") is None
    LoginStore(path).save("berlin", LOGIN)
    assert store.load_recent("berlin") == (LOGIN, str(path))
    path.unlink()
    assert store.load_recent("berlin") == (LOGIN, str(path))
    assert store.load("berlin") is None
    store.save("berlin", OTHER)
    assert store.load_recent("berlin") == (OTHER, str(path))
    store.delete("berlin")
    assert store.load_recent("berlin") is None
