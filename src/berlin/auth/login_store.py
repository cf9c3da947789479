"""Where `berlin login` keeps accounts and passwords: the keyring, or a private file without one."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import msgspec

from berlin.auth.credentials import Credentials
from berlin.auth.private_file import load_private, save_private
from berlin.errors import ConfigurationError

KEYRING_SERVICE = "berlin-llm"


class _Login(msgspec.Struct, frozen=True):
    account: str
    password: str


class LoginStore:
    """Logins by provider and URL, so that a password never goes to another URL.

    Args:
        path: the file for machines without a keyring.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, provider: str, url: str) -> Credentials | None:
        """Return the stored login, or `None`.

        Raises:
            ConfigurationError: if the file is not safe or not readable.
        """
        key = _key(provider, url)
        keyring = _keyring()
        stored = keyring.get_password(KEYRING_SERVICE, key) if keyring else None
        source = "keyring"
        login = msgspec.json.decode(stored, type=_Login) if stored else None
        if login is None:
            login, source = self._load_file().get(key), str(self._path)
        return Credentials.of(login.account, login.password, source) if login else None

    def save(self, provider: str, url: str, credentials: Credentials) -> str:
        """Store a login, and return where.

        Raises:
            ConfigurationError: if it cannot be stored.
        """
        login = _Login(credentials.account, credentials.password.reveal())
        keyring = _keyring()
        if keyring:
            text = msgspec.json.encode(login).decode()
            keyring.set_password(KEYRING_SERVICE, _key(provider, url), text)
            return "the keyring"
        self._save_file({**self._load_file(), _key(provider, url): login})
        return str(self._path)

    def delete(self, provider: str, url: str) -> bool:
        """Forget a login; return whether there was one."""
        key = _key(provider, url)
        keyring = _keyring()
        found = bool(keyring and keyring.get_password(KEYRING_SERVICE, key))
        if keyring and found:
            keyring.delete_password(KEYRING_SERVICE, key)
        logins = self._load_file()
        if key in logins:
            del logins[key]
            self._save_file(logins)
            found = True
        return found

    def _load_file(self) -> dict[str, _Login]:
        try:
            data = load_private(self._path)
            return msgspec.json.decode(data, type=dict[str, _Login]) if data else {}
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigurationError(f"the stored logins cannot be read: {error}") from error

    def _save_file(self, logins: dict[str, _Login]) -> None:
        try:
            save_private(self._path, msgspec.json.encode(logins))
        except OSError as error:
            raise ConfigurationError(f"the login cannot be stored: {error}") from error


def _key(provider: str, url: str) -> str:
    return f"{provider} {url}"


def _keyring() -> ModuleType | None:
    """Return the keyring if this machine has one that works."""
    try:
        import keyring  # noqa: PLC0415  # an extra, and slow to import
        from keyring.backends.fail import Keyring as NoKeyring  # noqa: PLC0415
    except ImportError:
        return None
    return None if isinstance(keyring.get_keyring(), NoKeyring) else keyring
