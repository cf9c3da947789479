"""The interface of a token store: storage outside this process, with a lock for each key."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from typing import Protocol, TypeAlias

import msgspec

from berlin.auth.credentials import Fingerprint
from berlin.auth.grant import Grant
from berlin.errors import ConfigurationError
from berlin.types import Secret

VERSION = 1

_log = logging.getLogger("berlin.auth")

Service: TypeAlias = tuple[str, str]
"""A service: the name of its recipe, and its base URL."""


class TokenKey(msgspec.Struct, frozen=True):
    """Identifies a token; a different password or URL makes a different key."""

    recipe: str
    url: str
    account: str
    fingerprint: str | Fingerprint

    @property
    def digest(self) -> str:
        """A name for files and keys that reveals nothing."""
        return hashlib.sha256(msgspec.json.encode(self, enc_hook=str)).hexdigest()[:40]


class Pause(msgspec.Struct, frozen=True, omit_defaults=True):
    """A time in which no process asks the identity provider, because it answered 429 or 5xx.

    Attributes:
        began_at: when it answered so, in seconds since 1970.
        until: when it is asked again, in seconds since 1970.
        count: the number of such answers in a row.
        kind: the code of the error.
        status: its HTTP status.
        reason: its message.
    """

    began_at: float
    until: float
    count: int = 1
    kind: str = ""
    status: int | None = None
    reason: str = ""


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """The record of one key. Unknown members are ignored, so that old and new releases of
    Berlin can share a store; an incompatible change increases `version`.

    Attributes:
        version: of this format.
        recipe: name of the recipe, for display.
        url: base URL, for display.
        account: the account, for display.
        token: the token; `None` if there is currently none.
        issued_at: when it was issued, in seconds since 1970.
        expires_at: when it expires, in seconds since 1970.
        refresh_token: the token that renews it.
        values: the other values the login took.
        refused_until: the time until which the credentials are not tried again.
        refusals: the number of consecutive refusals.
        refused_proof: a fingerprint of the refused secrets, if they are read for each login.
        pause: the time in which no process asks for a token.
    """

    version: int = VERSION
    recipe: str = ""
    url: str = ""
    account: str = ""
    token: str | None = None
    issued_at: float = 0.0
    expires_at: float | None = None
    refresh_token: str | None = None
    values: dict[str, str] = {}
    refused_until: float = 0.0
    refusals: int = 0
    refusal: str = ""
    refused_proof: str = ""
    pause: Pause | None = None

    def __repr__(self) -> str:
        return f"Record({self.recipe!r}, {self.url!r}, {self.account!r})"

    @classmethod
    def of(cls, key: TokenKey, grant: Grant | None) -> Record:
        """Return the record of a grant."""
        record = cls(recipe=key.recipe, url=key.url, account=key.account)
        if grant is None:
            return record
        refresh = grant.refresh_token.reveal() if grant.refresh_token else None
        return msgspec.structs.replace(
            record,
            token=grant.token.reveal(),
            issued_at=grant.issued_at,
            expires_at=grant.expires_at,
            refresh_token=refresh,
            values=dict(grant.values),
        )

    def grant(self) -> Grant | None:
        """Return the grant, if there is one."""
        if self.token is None:
            return None
        refresh = Secret(self.refresh_token) if self.refresh_token else None
        return Grant(Secret(self.token), self.issued_at, self.expires_at, refresh, self.values)

    def belongs_to(self, key: TokenKey) -> bool:
        """Whether it belongs to this key; the fingerprint is in the name of the entry."""
        return (*self.service, self.account) == (key.recipe, key.url, key.account)

    @property
    def service(self) -> Service:
        """The service that the token is for."""
        return self.recipe, self.url


class Lease(msgspec.Struct):
    """A held lock: for as long as this object lives, and at most until it expires.

    Attributes:
        fence: a number that grows with each holder; a store takes no write with a smaller one.
        proof: a value only the holder knows, or a file only it has open.
    """

    name: str
    fence: int
    proof: object


class TokenStore(Protocol):
    """A store. Its methods block for a short while and are called in threads.

    Each raises `OSError` or `ConfigurationError` if the store cannot be used now. An invalid stored
    value is reported once and counts as missing.

    Attributes:
        timeout_s: an operation that takes longer has failed.
        forgets: whether records disappear by themselves some time after they are of no more use.
    """

    timeout_s: float
    forgets: bool

    def load(self, key: TokenKey) -> Record | None:
        """Return the stored record."""
        ...

    def save(self, key: TokenKey, record: Record, lease: Lease | None) -> None:
        """Store a record, unless a later holder of the lock has stored one."""
        ...

    def entries(self) -> list[Record]:
        """Return all stored records."""
        ...

    def delete(self, service: Service | None = None) -> int:
        """Delete the tokens of one service, or of all; return how many there were."""
        ...

    def try_lock(self, key: TokenKey) -> Lease | None:
        """Take the lock of a key if it is free."""
        ...

    def extend(self, lease: Lease) -> bool:
        """Extend a lock; return whether it is still held."""
        ...

    def unlock(self, lease: Lease) -> None:
        """Release a lock."""
        ...


class Sealer:
    """Encrypts stored records, if there is a key (Fernet: AES-128-CBC and HMAC-SHA256).

    Args:
        key: any text of 16 characters or more; `None` stores plaintext.

    Raises:
        ConfigurationError: if the key is too short, or the extra is not installed.
    """

    def __init__(self, key: Secret | None) -> None:
        self._fernet = None
        self._warned: set[str] = set()
        if key is None:
            return
        if len(key.reveal()) < 16:
            raise ConfigurationError("the key of the token store needs 16 characters or more")
        try:
            from cryptography.fernet import Fernet
        except ImportError as error:
            raise ConfigurationError(
                "encryption needs one more package: pip install 'berlin-llm[encryption]'"
            ) from error
        import base64

        derived = hashlib.scrypt(key.reveal().encode(), salt=b"berlin", n=2**12, r=8, p=1, dklen=32)
        self._fernet = Fernet(base64.urlsafe_b64encode(derived))

    def seal(self, record: Record) -> bytes:
        """Return the bytes to store."""
        data = msgspec.json.encode(record)
        return self._fernet.encrypt(data) if self._fernet else data

    def read(self, where: str, load: Callable[[], bytes | None]) -> Record | None:
        """Return a stored record; an invalid one counts as missing, with one warning.

        Args:
            where: the place, for the warning.
            load: returns the stored bytes. Raises ValueError if they cannot be ours.
        """
        try:
            data = load()
            return self.open(data) if data is not None else None
        except (ValueError, RecursionError) as error:
            if where not in self._warned:
                self._warned.add(where)
                _log.warning("tokens.ignored %s reason=%s", where, error)
            return None

    def open(self, data: bytes) -> Record:
        """Return the record in stored bytes.

        Raises:
            ValueError: if they are damaged, encrypted with another key, or from a later version.
        """
        if self._fernet:
            from cryptography.fernet import InvalidToken

            try:
                data = self._fernet.decrypt(data)
            except InvalidToken:
                raise ValueError("it was stored with another key, or is damaged") from None
        record = msgspec.json.decode(data, type=Record)
        if record.version > VERSION:
            raise ValueError("it is from a later version of Berlin")
        return record
