"""Where logins are kept."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

from berlin.auth import secret_sources
from berlin.auth.secret_sources import KeyringSecret
from berlin.auth.system_keyring import SystemKeyring
from berlin.auth.tokens import login_store
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
    priority = -1  # a property of the class in the library

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


_RELEASED = threading.Event()


def _locked() -> None:
    raise KeyringLocked("Failed to unlock\nthe collection!")


def _broken() -> None:
    raise RuntimeError("org.freedesktop.secrets: no such\x1b[31m service.")


def _silent() -> None:
    raise OSError


def _hanging() -> None:
    _RELEASED.wait(30)


BAD = [
    (_locked, 30, "Failed to unlock the collection!;"),
    (_broken, 30, "org.freedesktop.secrets: no such [31m service;"),
    (_silent, 30, "OSError;"),
    (_hanging, 0.1, "it did not answer in 0.1 s;"),
]


class BadKeyring(MemoryKeyring):
    """A keyring that fails at each use."""

    def __init__(self, fail: Callable[[], None]) -> None:
        super().__init__()
        self.uses = 0
        self._fail = fail

    def get_password(self, service: str, username: str) -> str | None:
        self.uses += 1
        self._fail()
        return None

    def set_password(self, service: str, username: str, password: str) -> None:
        self.uses += 1
        self._fail()


@pytest.fixture
def released() -> Iterator[None]:
    """Let threads that hang in a keyring end with the test."""
    _RELEASED.clear()
    yield
    _RELEASED.set()


@pytest.mark.parametrize(("fail", "timeout_s", "why"), BAD)
@pytest.mark.usefixtures("released")
def test_a_keyring_that_fails(
    path: Path,
    memory: object,
    fail: Callable[[], None],
    timeout_s: float,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Locked, broken or silent: one line says why, the file is used, and nothing waits again."""
    monkeypatch.setattr(login_store, "SYSTEM", SystemKeyring(timeout_s=timeout_s))
    backend = BadKeyring(fail)
    keyring.set_keyring(backend)
    store = LoginStore(path)
    assert [store.load(name) for name in ("work", "home", "work")] == [None] * 3
    assert backend.uses == 1
    [line] = caplog.messages
    assert why in line
    assert "\n" not in line
    told = store.save("work", LOGIN)
    assert told.startswith(f"{path} (the keyring cannot be used: ")
    assert store.load("work") == (LOGIN, str(path))
    with pytest.raises(ConfigurationError, match="may still be there"):
        store.delete("work")
    assert store.load("work") is None


@pytest.mark.usefixtures("released")
def test_a_secret_in_a_keyring_that_fails(memory: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that the configuration names is an error in one line, with what to do."""
    monkeypatch.setattr(secret_sources, "SYSTEM", SystemKeyring(timeout_s=0.1))
    keyring.set_keyring(BadKeyring(_hanging))
    with pytest.raises(ConfigurationError, match=r"did not answer in 0\.1 s; unlock it"):
        KeyringSecret("bank", "ann").read()


def test_a_keyring_entry_that_is_no_login(path: Path, memory: MemoryKeyring) -> None:
    """Something else under our name is an error that says how to replace it."""
    memory.kept["berlin-llm", "work"] = "not a login"
    with pytest.raises(ConfigurationError, match="run: berlin login work"):
        LoginStore(path).load("work")


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
