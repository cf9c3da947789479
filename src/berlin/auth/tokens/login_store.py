"""Where `berlin login` keeps accounts and passwords: the keyring, or else a private file."""

from __future__ import annotations

import time
from pathlib import Path
from types import ModuleType

import msgspec

from berlin.auth.credentials import Credentials
from berlin.auth.tokens.private_file import load_private, save_private
from berlin.errors import ConfigurationError

KEYRING_SERVICE = "berlin-llm"
RECENT_S = 30.0


class StoredLogin(msgspec.Struct, frozen=True):
    """The data stored by one `berlin login`.

    Attributes:
        url: its base URL; it is never used for another one.
        values: the credentials by name, such as `account` and `password`.
        allow_http: whether they may be sent to it over plain http.
    """

    url: str
    values: dict[str, str]
    allow_http: bool = False

    def __repr__(self) -> str:
        return f"StoredLogin({self.url!r}, {', '.join(self.values)})"

    def credentials(self, source: str) -> Credentials:
        """Return the values as credentials. Raises ConfigurationError."""
        return Credentials.checked(source, **self.values)


class LoginStore:
    """Stores one login for each provider.

    Args:
        path: the file for machines without a keyring.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, provider: str) -> tuple[StoredLogin, str] | None:
        """Return the stored login and where it is kept, or `None`.

        Raises:
            ConfigurationError: if the file is unsafe or unreadable.
        """
        keyring = _keyring()
        stored = keyring.get_password(KEYRING_SERVICE, provider) if keyring else None
        if stored:
            return msgspec.json.decode(stored, type=StoredLogin), "the keyring"
        login = self._load_file().get(provider)
        return (login, str(self._path)) if login else None

    def load_recent(self, provider: str) -> tuple[StoredLogin, str] | None:
        """Return the result of `load`, cached for up to `RECENT_S`: a keyring can be slow.

        A missing login is never cached: the user may be logging in right now.
        """
        key = (self._path, provider)
        known = _RECENT.get(key)
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        found = self.load(provider)
        if found is not None:
            _RECENT[key] = (time.monotonic() + RECENT_S, found)
        return found

    def save(self, provider: str, login: StoredLogin) -> str:
        """Store a login, replacing an earlier one, and return where it is kept.

        Raises:
            ConfigurationError: if it cannot be stored.
        """
        _RECENT.clear()
        keyring = _keyring()
        if keyring:
            text = msgspec.json.encode(login).decode()
            keyring.set_password(KEYRING_SERVICE, provider, text)
            return "the keyring"
        self._save_file({**self._load_file(), provider: login})
        return str(self._path)

    def delete(self, provider: str) -> bool:
        """Delete a login; return whether there was one."""
        _RECENT.clear()
        keyring = _keyring()
        found = bool(keyring and keyring.get_password(KEYRING_SERVICE, provider))
        if keyring and found:
            keyring.delete_password(KEYRING_SERVICE, provider)
        logins = self._load_file()
        if provider in logins:
            del logins[provider]
            self._save_file(logins)
            found = True
        return found

    def _load_file(self) -> dict[str, StoredLogin]:
        try:
            data = load_private(self._path)
            return msgspec.json.decode(data, type=dict[str, StoredLogin]) if data else {}
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigurationError(f"the stored logins cannot be read: {error}") from error

    def _save_file(self, logins: dict[str, StoredLogin]) -> None:
        try:
            save_private(self._path, msgspec.json.encode(logins))
        except OSError as error:
            raise ConfigurationError(f"the login cannot be stored: {error}") from error


_RECENT: dict[tuple[Path, str], tuple[float, tuple[StoredLogin, str]]] = {}


def _keyring() -> ModuleType | None:
    """Return the keyring if this machine has a working one."""
    try:
        import keyring  # an extra, and slow to import
        from keyring.backends.fail import Keyring as NoKeyring
    except ImportError:
        return None
    return None if isinstance(keyring.get_keyring(), NoKeyring) else keyring
