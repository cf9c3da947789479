"""Credentials: an account and its password, and where they came from."""

from __future__ import annotations

import hashlib

import msgspec

from berlin.errors import ConfigurationError
from berlin.types import Secret


class Credentials(msgspec.Struct, frozen=True):
    """What a user logs in with.

    Attributes:
        account: the account's name.
        password: its password.
        source: where they were found, in words for a person.
    """

    account: str
    password: Secret
    source: str = "arguments"

    @classmethod
    def of(cls, account: object, password: object, source: str = "arguments") -> Credentials:
        """Return checked credentials.

        Raises:
            ConfigurationError: if one is empty, or no text that can be sent.
        """
        revealed = password.reveal() if isinstance(password, Secret) else password
        for name, value in (("account", account), ("password", revealed)):
            if not isinstance(value, str) or not value:
                raise ConfigurationError(f"the {name} (from {source}) must be text, and not empty")
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ConfigurationError(
                    f"the {name} (from {source}) holds half of a surrogate pair: type it again"
                ) from None
        return cls(str(account), Secret(str(revealed)), source)

    def fingerprint(self) -> str:
        """Return a text that differs when account or password differ, and tells neither.

        It takes scrypt's time on purpose: it may be stored beside a token, where a fast hash
        would let a reader try passwords.
        """
        salt = hashlib.sha256(self.account.encode()).digest()
        return hashlib.scrypt(
            self.password.reveal().encode(), salt=salt, n=2**10, r=8, p=1, dklen=16
        ).hex()
