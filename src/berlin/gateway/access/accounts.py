"""The gateway's own accounts: names, and passwords hashed with scrypt (RFC 7914)."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Unpack

import msgspec

from berlin.auth.tokens.private_file import load_private, save_private
from berlin.errors import ConfigurationError
from berlin.gateway.access.caller import Caller, Given, Rules, check_name, checked
from berlin.types import Secret

MAX_PASSWORD_BYTES = 1024

# 16 MiB and about 50 ms per attempt: too slow to guess passwords from a stolen file.
_COST, _BLOCK, _PARALLEL = 2**14, 8, 1
# At most half of the machine's cores: logins never starve answers.
HASHES_AT_ONCE = max(1, (os.cpu_count() or 2) // 2)


class Account(Rules, frozen=True, kw_only=True, omit_defaults=True):
    """The hash of a password with its salt, both in hexadecimal, and what the account may do."""

    salt: str
    hash: str


class _AccountsFile(msgspec.Struct, frozen=True):
    version: Literal[1]
    accounts: dict[str, Account]


class Accounts:
    """The accounts and their permissions.

    Args:
        accounts: names, hashes and limits.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        accounts: dict[str, Account] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._accounts = dict(accounts or {})
        self._clock = clock

    @classmethod
    def load(cls, path: Path) -> Accounts:
        """Return the accounts in a file; none if there is no file.

        Raises:
            ConfigurationError: if the file is unsafe, unreadable, or from a newer version.
        """
        return cls(load_accounts(path))

    def save(self, path: Path) -> None:
        """Write the accounts to a file that only its owner can read.

        Raises:
            ConfigurationError: if it cannot be written.
        """
        try:
            save_private(path, msgspec.json.encode(_AccountsFile(1, self._accounts)))
        except OSError as error:
            raise ConfigurationError(f"the accounts cannot be stored: {error}") from error

    @property
    def known(self) -> dict[str, Account]:
        """The accounts, by name."""
        return self._accounts

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._accounts)

    def __len__(self) -> int:
        # Not read again: an account whose owner asks was looked up by `known`.
        return len(self._accounts)

    def caller(self, name: str) -> Caller | None:
        """Return the permissions of an account; `None` if it does not exist or has expired."""
        known = self.known.get(name)
        if known is None:
            return None
        caller = Caller(id=f"account:{name}", user=name, **_rules(known))
        return None if caller.has_expired(self._clock()) else caller

    def add(
        self, name: str, password: Secret, models: Iterable[str] = (), **rules: Unpack[Given]
    ) -> None:
        """Add an account, or change its password and limits.

        Raises:
            ConfigurationError: if the name, the password or a limit cannot be used.
        """
        check_name(name, "an account")
        caller = Caller(id=name, models=tuple(models), **rules)
        caller = checked(caller, "an account", self._clock())
        if not 0 < len(_bytes(password)) <= MAX_PASSWORD_BYTES:
            raise ConfigurationError(f"a password has 1 to {MAX_PASSWORD_BYTES} bytes")
        salt = os.urandom(16)
        hashed = _hash(_bytes(password), salt).hex()
        self._accounts[name] = Account(salt=salt.hex(), hash=hashed, **_rules(caller))

    def remove(self, name: str) -> bool:
        """Remove an account; return whether there was one."""
        return self._accounts.pop(name, None) is not None

    def fingerprint(self, name: str) -> bytes | None:
        """Return what identifies an account with its password; `None` if it does not exist."""
        known = self.known.get(name)
        return None if known is None else f"{name}\0{known.salt}\0{known.hash}".encode()

    async def verify(self, name: str, password: Secret) -> bool:
        """Return whether the password is right. An unknown name takes just as long."""
        if len(_bytes(password)) > MAX_PASSWORD_BYTES:
            return False
        known = self.known.get(name)
        salt = bytes.fromhex(known.salt) if known else b"nobody's salt..."
        loop = asyncio.get_running_loop()
        tried = await loop.run_in_executor(_hashing(), _hash, _bytes(password), salt)
        expected = bytes.fromhex(known.hash) if known else bytes(len(tried))
        return hmac.compare_digest(tried, expected) and known is not None


def load_accounts(path: Path) -> dict[str, Account]:
    """Return the accounts in a file; none if there is no file.

    Raises:
        ConfigurationError: if the file is unsafe, unreadable, or from a newer version.
    """
    try:
        data = load_private(path)
        return msgspec.json.decode(data, type=_AccountsFile).accounts if data is not None else {}
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"the accounts in {path} cannot be read: {error}") from error


@functools.cache
def _hashing() -> ThreadPoolExecutor:
    """The threads that hash, one pool for the process: a hash takes 16 MB while it runs.

    Separate from those of the loop, which decode long bodies.
    """
    return ThreadPoolExecutor(HASHES_AT_ONCE, "berlin-scrypt")


def _rules(rules: Rules) -> dict[str, Any]:
    return {name: getattr(rules, name) for name in Rules.__struct_fields__}


def _bytes(password: Secret) -> bytes:
    return password.reveal().encode("utf-8", "surrogatepass")


def _hash(password: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(password, salt=salt, n=_COST, r=_BLOCK, p=_PARALLEL, dklen=32)
