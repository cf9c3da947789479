"""Credentials: the values a user supplies, and their source."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math

import msgspec

from berlin.auth.secret_sources import CallerSecret, FileSecret, SecretSource
from berlin.errors import ConfigurationError
from berlin.types import Secret

READ_AGAIN_S = 5.0
_NOTHING = Secret("")


class Credentials(msgspec.Struct, frozen=True):
    """The credentials of a user; the flow decides which values are needed.

    Attributes:
        password: its password.
        api_key: a key that is used as it is.
        client_id: OAuth 2: identifies the client.
        client_secret: OAuth 2: authenticates the client.
        refresh_token: OAuth 2: the initial refresh token, obtained elsewhere.
        private_key: OAuth 2: the client's signing key, in PEM.
        assertion: OAuth 2: a JWT signed by a third party, such as a projected token.
        totp_seed: the seed of one-time codes; kept like a password.
        code: a one-time code typed during a login; never kept.
        source: where they were found, in words for the user.
        kept: credentials that are read again for each login, and their sources.
    """

    account: str = ""
    password: Secret = _NOTHING
    api_key: Secret = _NOTHING
    client_id: str = ""
    client_secret: Secret = _NOTHING
    refresh_token: Secret = _NOTHING
    private_key: Secret = _NOTHING
    assertion: Secret = _NOTHING
    totp_seed: Secret = _NOTHING
    code: Secret = _NOTHING
    source: str = "arguments"
    kept: tuple[tuple[str, SecretSource], ...] = ()

    @classmethod
    def of(cls, account: object, password: object, source: str = "arguments") -> Credentials:
        """Return checked credentials of an account.

        Raises:
            ConfigurationError: if one is empty, or cannot be sent as text.
        """
        revealed = password.reveal() if isinstance(password, Secret) else password
        return cls.checked(source, account=account, password=revealed)

    @classmethod
    def checked(cls, source: str, **values: object) -> Credentials:
        """Return credentials from named values that were really given.

        Raises:
            ConfigurationError: if one is empty, or cannot be sent as text.
        """
        good: dict[str, str | Secret] = {}
        kept = tuple((n, v) for n, v in values.items() if isinstance(v, SecretSource))
        for name, value in values.items():
            if isinstance(value, SecretSource):
                continue
            if not isinstance(value, str) or not value:
                raise ConfigurationError(f"the {name} (from {source}) must be text, and not empty")
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ConfigurationError(
                    f"the {name} (from {source}) holds half of a surrogate pair: type it again"
                ) from None
            good[name] = value if name in ("account", "client_id") else Secret(value)
        return cls(**good, source=source, kept=kept)  # type: ignore[arg-type]  # by name, just above

    @property
    def names(self) -> frozenset[str]:
        """The names of all credentials that are set, including those still to be read."""
        return frozenset((*self.values(), *(name for name, _ in self.kept)))

    @property
    def of_caller(self) -> str:
        """The name of the value that is the token of each caller; `""` if none is."""
        return next((n for n, source in self.kept if isinstance(source, CallerSecret)), "")

    def on_behalf_of(self, token: Secret) -> Credentials:
        """Return the credentials with the token of one caller."""
        kept = tuple(pair for pair in self.kept if pair[0] != self.of_caller)
        return msgspec.structs.replace(self, kept=kept, **{self.of_caller: token})

    def fresh(self) -> Credentials:
        """Return the credentials with referenced values read from their sources. It may block.

        Raises:
            ConfigurationError: if one cannot be read.
        """
        if not self.kept:
            return self
        read = {name: source.read() for name, source in self.kept}
        return self.checked(self.source, **{**self.values(), **read})

    def values(self) -> dict[str, str]:
        """Return all values in plaintext, by name."""
        named = {name: getattr(self, name) for name in (*NAMES, CODE)}
        clear = {n: v.reveal() if isinstance(v, Secret) else v for n, v in named.items()}
        return {name: value for name, value in clear.items() if value}

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The values that must never appear in a message."""
        return tuple(s for name in NAMES if isinstance(s := getattr(self, name), Secret) and s)

    @property
    def who(self) -> str:
        """The account, or its substitute."""
        return self.account or self.client_id

    def fingerprint(self) -> Fingerprint:
        """Return an identity that differs when any value differs, and reveals none."""
        # For referenced values only the source: a projected token changes every few minutes. The
        # one-time code is not part of the identity.
        kept = [(name, _place_of(source)) for name, source in self.kept]
        values = {n: v for n, v in self.values().items() if n != CODE}
        text = msgspec.json.encode([values, kept] if kept else values)
        return Fingerprint(text, self.who)


class Fingerprint:
    """Identifies credentials and reveals none.

    Its text is deliberately slow to make (scrypt): it may be stored beside a token, where a fast
    hash would allow guessing passwords. So it is made when a store first asks for it; in this
    process fingerprints are compared by what they are made of.
    """

    __slots__ = ("_made_of", "_text", "_who")

    def __init__(self, made_of: bytes, who: str) -> None:
        self._made_of = made_of
        self._who = who
        self._text = ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Fingerprint):
            return NotImplemented
        return hmac.compare_digest(self._made_of, other._made_of)

    def __hash__(self) -> int:
        return hash(self._made_of)

    def __str__(self) -> str:
        if not self._text:
            salt = hashlib.sha256(self._who.encode()).digest()
            made = hashlib.scrypt(self._made_of, salt=salt, n=2**10, r=8, p=1, dklen=16)
            self._text = made.hex()
        return self._text


class KeptCredentials:
    """Credentials as the logins use them: some may be read from their sources for each login.

    Attributes:
        given: the credentials, with the sources of those that are read.
        latest: what was read last.
        refused: what the service refused; `None` if it has not refused anything yet.
        read_again_s: seconds until it is worth reading refused secrets again: a file costs nothing,
            a keyring or a program may need a person.
    """

    def __init__(self, credentials: Credentials) -> None:
        self.given = self.latest = credentials
        self.refused: Credentials | None = None
        self.read_again_s = math.inf
        if credentials.kept:
            files_only = all(isinstance(source, FileSecret) for _, source in credentials.kept)
            self.read_again_s = 0.0 if files_only else READ_AGAIN_S

    @property
    def proof(self) -> str:
        """A fingerprint of what was read last; `""` if nothing is read."""
        return str(self.latest.fingerprint()) if self.given.kept else ""

    async def read(self) -> Credentials:
        """Return the current credentials. Raises ConfigurationError."""
        if self.given.kept:
            self.latest = await asyncio.to_thread(self.given.fresh)
        return self.latest

    async def have_changed(self) -> bool:
        """Read the credentials again, and return whether they differ from the refused ones."""
        try:
            return await self.read() != self.refused
        except ConfigurationError:
            return True  # the next login says why they cannot be read


def _place_of(source: SecretSource) -> dict[str, object]:
    """Return where a secret is; what is not given is left out, as if it did not exist yet."""
    return {name: value for name, value in msgspec.structs.asdict(source).items() if value}


USER_NAMES = ("account", "password", "api_key", "refresh_token", "totp_seed")
CLIENT_NAMES = ("client_id", "client_secret", "private_key", "assertion")
NAMES = (*USER_NAMES, *CLIENT_NAMES)
SECRET_NAMES = tuple(name for name in NAMES if name not in ("account", "client_id"))
CODE = "code"
