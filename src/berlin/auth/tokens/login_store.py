"""Keeps the accounts and passwords of `berlin login`: in the keyring, or else in a private file."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import msgspec

from berlin.auth.credentials import Credentials
from berlin.auth.system_keyring import SYSTEM, KeyringFailed, NoKeyring
from berlin.auth.tokens.private_file import load_private, save_private
from berlin.errors import ConfigurationError

KEYRING_SERVICE = "berlin-llm"
RECENT_S = 30.0

_log = logging.getLogger("berlin.auth")


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
        """Return the stored login and where it is kept, or `None`. Raises ConfigurationError."""
        # The file first: it has a login only if the keyring did not take it, or never had it.
        login = self._load_file().get(provider)
        if login is not None:
            return login, str(self._path)
        try:
            stored = SYSTEM.read(KEYRING_SERVICE, provider)
        except NoKeyring:
            return None
        except KeyringFailed as error:
            if error.is_new:  # one line, not one for each provider
                _log.warning("logins in the keyring are not found: %s", error.message)
            return None
        if not stored:
            return None
        try:
            return msgspec.json.decode(stored, type=StoredLogin), "the keyring"
        except msgspec.DecodeError:
            raise ConfigurationError(
                f"the keyring entry {KEYRING_SERVICE}/{provider} is not a login of Berlin; "
                f"run: berlin login {provider}"
            ) from None

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
        logins = self._load_file()
        try:
            SYSTEM.write(KEYRING_SERVICE, provider, msgspec.json.encode(login).decode())
        except NoKeyring:
            where = str(self._path)
        except KeyringFailed as error:
            where = f"{self._path} ({error.message})"
        else:
            if logins.pop(provider, None) is not None:
                self._save_file(logins)
            return "the keyring"
        self._save_file({**logins, provider: login})
        return where

    def delete(self, provider: str) -> bool:
        """Delete a login; return whether there was one.

        Raises:
            ConfigurationError: if it cannot be deleted, or may still be in a keyring that fails.
        """
        _RECENT.clear()
        logins = self._load_file()
        found = logins.pop(provider, None) is not None
        if found:
            self._save_file(logins)
        try:
            return SYSTEM.delete(KEYRING_SERVICE, provider) or found
        except NoKeyring:
            return found
        except KeyringFailed as error:
            raise ConfigurationError(f"a login may still be there: {error.message}") from None

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
