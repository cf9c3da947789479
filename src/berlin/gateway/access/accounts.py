"""The gateway's own accounts: names, and passwords hashed with scrypt (RFC 7914)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from pathlib import Path
from typing import Literal

import msgspec

from berlin.auth.tokens.private_file import load_private, save_private
from berlin.errors import ConfigurationError
from berlin.types import Secret

MAX_NAME_CHARS = 128
MAX_PASSWORD_BYTES = 1024

# 16 MiB and some 50 ms for each try: for one who stole the file it is too slow to guess.
_COST, _BLOCK, _PARALLEL = 2**14, 8, 1


class PasswordHash(msgspec.Struct, frozen=True):
    """A salt and the hash of a password, both in hexadecimal."""

    salt: str
    hash: str


class _AccountsFile(msgspec.Struct, frozen=True):
    version: Literal[1]
    accounts: dict[str, PasswordHash]


class Accounts:
    """Who may log in.

    Args:
        accounts: names and hashes.
    """

    def __init__(self, accounts: dict[str, PasswordHash] | None = None) -> None:
        self._accounts = dict(accounts or {})
        # Each check takes memory and a core: not more of them at once than a machine has.
        self._slots = asyncio.Semaphore(max(2, os.cpu_count() or 2))

    @classmethod
    def load(cls, path: Path) -> Accounts:
        """Return the accounts in a file; none if there is no file.

        Raises:
            ConfigurationError: if the file is not safe, not readable, or from a newer version.
        """
        try:
            data = load_private(path)
            stored = msgspec.json.decode(data, type=_AccountsFile).accounts if data else {}
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigurationError(f"the accounts in {path} cannot be read: {error}") from error
        return cls(stored)

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
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._accounts)

    def add(self, name: str, password: Secret) -> None:
        """Add an account, or give one another password.

        Raises:
            ConfigurationError: if the name or the password cannot be used.
        """
        if not name.isprintable() or not name.strip() or len(name) > MAX_NAME_CHARS:
            raise ConfigurationError(
                f"an account's name is 1 to {MAX_NAME_CHARS} printable characters, not {name!r}"
            )
        if not 0 < len(_bytes(password)) <= MAX_PASSWORD_BYTES:
            raise ConfigurationError(f"a password has 1 to {MAX_PASSWORD_BYTES} bytes")
        salt = os.urandom(16)
        self._accounts[name] = PasswordHash(salt.hex(), _hash(_bytes(password), salt).hex())

    def remove(self, name: str) -> bool:
        """Remove an account; return whether there was one."""
        return self._accounts.pop(name, None) is not None

    async def verify(self, name: str, password: Secret) -> bool:
        """Tell whether the password is right. An unknown name takes as long as a wrong password."""
        if len(_bytes(password)) > MAX_PASSWORD_BYTES:
            return False
        known = self._accounts.get(name)
        salt = bytes.fromhex(known.salt) if known else b"nobody's salt..."
        async with self._slots:
            tried = await asyncio.to_thread(_hash, _bytes(password), salt)
        expected = bytes.fromhex(known.hash) if known else bytes(len(tried))
        return hmac.compare_digest(tried, expected) and known is not None


def _bytes(password: Secret) -> bytes:
    return password.reveal().encode("utf-8", "surrogatepass")


def _hash(password: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(password, salt=salt, n=_COST, r=_BLOCK, p=_PARALLEL, dklen=32)
