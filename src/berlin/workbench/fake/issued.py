"""The values a fake has issued: tokens, ids and everything else a recipe takes from its answers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from secrets import token_hex
from typing import Any

from berlin.auth.credentials import NAMES, Credentials
from berlin.errors import InvalidRequestError, KeyRefusedError
from berlin.gateway.refusals import HttpFault
from berlin.language.tables.conversation import NAMES as CONVERSATION_NAMES
from berlin.language.tables.parts import FILE_NAMES
from berlin.language.values.functions import MADE

# Values that a client may leave out, and values it may choose.
_OPTIONAL = (CONVERSATION_NAMES - {"prompt", "messages", "history"}) | {"user"}
_FREE = (CONVERSATION_NAMES - {"conversation_id", "parent_id"}) | FILE_NAMES
_FREE |= {"file", "size", "model", "user", "totp", "code", *MADE}


class IssuedValues:
    """Remembers every value and what the client had sent when it was issued.

    Args:
        lifetime_s: lifetime of a token in seconds.
        free: names whose values the client may choose.

    Attributes:
        last: what the client had sent when a value was last issued.
    """

    def __init__(
        self, credentials: Credentials, lifetime_s: float, free: Iterable[str] = ()
    ) -> None:
        self._free = _FREE | frozenset(free)
        self.credentials = credentials
        self.lifetime_s = lifetime_s
        self._right = credentials.values()
        self._until: dict[str, float] = {}
        self._values: dict[str, set[str]] = {}
        self._said: dict[str, dict[str, Any]] = {}
        self.last: dict[str, Any] = {}

    def give(self, names: Iterable[str], said: Mapping[str, Any]) -> dict[str, Any]:
        """Issue new values for these names."""
        given = {name: self._make(name) for name in names}
        self.last = {**said, **given}
        for name, value in given.items():
            self.add(name, value)
            self._said[str(value)] = self.last
        if "uuid4" in said:  # the client's own id for what it starts
            self._said[str(said["uuid4"])] = self.last
        return given

    def add(self, name: str, value: object) -> None:
        """Record a value that the client may use from now on."""
        self._values.setdefault(name, set()).add(str(value))

    def recall(self, values: Iterable[object]) -> dict[str, Any]:
        """Return the values that the client had sent when these were issued."""
        merged: dict[str, Any] = {}
        for value in values:
            merged |= self._said.get(str(value), {})
        return merged

    def knows(self, name: str, value: object) -> bool:
        """Whether a value was issued under this name."""
        return str(value) in self._values.get(name, ())

    def check(self, names: Iterable[str], values: Mapping[str, Any]) -> None:
        """Check what a client sent where a recipe has placeholders.

        Raises:
            InvalidRequestError: if something is missing.
            KeyRefusedError: if the credentials are wrong.
            HttpFault: if a value was never issued.
        """
        for name in sorted(names):
            if name in values:
                self._check(name, values[name])
            elif name not in _OPTIONAL:
                raise InvalidRequestError.about(name, "missing in this request")

    def is_token(self, token: str) -> bool:
        """Whether a token is valid."""
        return self._until.get(token, 0.0) > time.monotonic()

    def _check(self, name: str, value: object) -> None:
        if name in self._free or self.knows(name, value):
            return
        if name in NAMES:
            if value != self._right.get(name):
                raise KeyRefusedError(f"the {name.replace('_', ' ')} is wrong")
            return
        raise HttpFault(404, f"{str(value)[:80]!r} is not a {name} that was issued here")

    def _make(self, name: str) -> Any:
        match name:
            case "token":
                token = f"fake-{token_hex(12)}"
                self._until[token] = time.monotonic() + self.lifetime_s
                return token
            case "expires_in":
                return self.lifetime_s
            case "expires_in_ms":
                return self.lifetime_s * 1000
            case "expires_at":
                return time.time() + self.lifetime_s
            case _:
                return token_hex(12)
