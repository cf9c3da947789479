"""The system's keyring, which may be locked, broken, or wait for a person who is not there.

Over SSH, and in services of systemd, there is often a keyring that nobody can unlock: its libraries
then raise errors of many kinds, or wait for a dialogue on a screen that does not exist.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypeVar

from berlin.errors import ConfigurationError

# A person may be typing the keyring's password.
TIMEOUT_S = 15.0
# How long a keyring that failed is left alone, so that ten providers do not each wait for it.
REST_S = 30.0
MAX_REASON_CHARS = 160

_T = TypeVar("_T")


class KeyringFailed(ConfigurationError):
    """The keyring cannot be used; the message says why, in one line.

    Attributes:
        is_new: whether it was just tried; `False` if it failed a moment ago.
    """

    def __init__(self, message: str, *, is_new: bool = True) -> None:
        super().__init__(message)
        self.is_new = is_new


class SystemKeyring:
    """Reads, writes and deletes entries of the keyring, each in a thread with a time limit.

    Args:
        timeout_s: seconds for one operation.
        rest_s: seconds without another attempt after one that failed.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S, rest_s: float = REST_S) -> None:
        self._timeout_s = timeout_s
        self._rest_s = rest_s
        self._failed_until = 0.0
        self._problem = ""
        self._no_backend: object = None

    def read(self, service: str, name: str) -> str | None:
        """Return an entry; `None` if there is none. Raises KeyringFailed."""
        found: str | None = self._use(lambda: _keyring().get_password(service, name))
        return found

    def write(self, service: str, name: str, text: str) -> None:
        """Write an entry. Raises KeyringFailed."""
        self._use(lambda: _keyring().set_password(service, name, text))

    def delete(self, service: str, name: str) -> bool:
        """Delete an entry; return whether there was one. Raises KeyringFailed."""

        def delete() -> bool:
            keyring = _keyring()
            found = keyring.get_password(service, name) is not None
            if found:
                keyring.delete_password(service, name)
            return found

        return self._use(delete)

    def _use(self, operation: Callable[[], _T]) -> _T:
        if time.monotonic() < self._failed_until:
            raise KeyringFailed(self._problem, is_new=False)
        if self._is_known_missing():  # 1,000 providers do not need 1,000 threads to learn it
            raise NoKeyring
        done: list[_T] = []
        failed: list[str] = []

        def run() -> None:
            try:
                done.append(operation())
            except NoKeyring:
                failed.append("")
            except BaseException as error:  # its backends raise all kinds
                failed.append(_reason(error))

        # A daemon: one that waits for a dialogue must not keep the program from ending.
        thread = threading.Thread(target=run, name="berlin-keyring", daemon=True)
        thread.start()
        thread.join(self._timeout_s)
        if done:
            return done[0]
        if failed == [""]:
            if (keyring := sys.modules.get("keyring")) is not None:
                self._no_backend = keyring.get_keyring()
            raise NoKeyring
        why = failed[0] if failed else f"it did not answer in {self._timeout_s:g} s"
        self._problem = (
            f"the keyring cannot be used: {why}; unlock it, or give the secret in an environment "
            "variable or a file"
        )
        self._failed_until = time.monotonic() + self._rest_s
        raise KeyringFailed(self._problem)

    def _is_known_missing(self) -> bool:
        keyring = sys.modules.get("keyring")
        if keyring is None:
            return find_spec("keyring") is None
        return self._no_backend is not None and keyring.get_keyring() is self._no_backend


class NoKeyring(ConfigurationError):
    """This machine has no keyring, or the package is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "this machine has no keyring, or its package is missing: "
            "pip install 'berlin-llm[keyring]'"
        )


SYSTEM = SystemKeyring()


def _keyring() -> Any:
    try:
        import keyring  # an extra, and slow to import
        from keyring.backends.fail import Keyring
    except ImportError:
        raise NoKeyring from None
    backend = keyring.get_keyring()
    if isinstance(backend, Keyring):
        raise NoKeyring
    return backend


def _reason(error: BaseException) -> str:
    """Return what a backend says, in one short line; its class if it says nothing."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())
    return text[:MAX_REASON_CHARS].rstrip(".") or type(error).__name__
