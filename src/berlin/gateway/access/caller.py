"""Callers and their permissions: one set of rules for keys and accounts."""

from __future__ import annotations

import math

import msgspec

from berlin.errors import ConfigurationError

MAX_NAME_CHARS = 128
MAX_PER_MINUTE = 1_000_000


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A client authenticated by a key or a login token, and its permissions.

    Attributes:
        id: its unique id, for limits, fair queueing and logs.
        models: patterns, `provider:model` or `provider:*`; empty allows every model.
        expires_at: seconds since the epoch, or `None` if it does not expire.
        requests_per_minute: the limit, or `None`.
    """

    id: str
    models: tuple[str, ...] = ()
    expires_at: float | None = None
    requests_per_minute: int | None = None

    def allows(self, model: str) -> bool:
        """Return whether a model may be used, as `provider:model`; case-insensitive.

        Pass the resolved provider and model, not an alias from the client.
        """
        if not self.models:
            return True
        asked = _fold(model)
        provider, colon, _ = asked.partition(":")
        return asked in self.models or (bool(colon) and f"{provider}:*" in self.models)

    def has_expired(self, now: float) -> bool:
        """Return whether it has expired at a time in seconds since the epoch."""
        return self.expires_at is not None and now >= self.expires_at


def check_name(name: str, owner: str) -> None:
    """Raise ConfigurationError if the name of `a key` or `an account` is invalid."""
    if not name.isprintable() or not name.strip() or len(name) > MAX_NAME_CHARS:
        raise ConfigurationError(
            f"{owner}'s name is 1 to {MAX_NAME_CHARS} printable characters, not {name!r}"
        )


def check_limits(owner: str, caller: Caller, now: float) -> None:
    """Raise ConfigurationError if the limits of `a key` or `an account` are invalid."""
    if caller.expires_at is not None and not now < caller.expires_at < math.inf:
        raise ConfigurationError(f"{owner} expires in the future: choose a later time")
    limit = caller.requests_per_minute
    if limit is not None and not 1 <= limit <= MAX_PER_MINUTE:
        raise ConfigurationError(f"requests per minute are 1 to {MAX_PER_MINUTE:,}")


def model_pattern(text: str) -> str:
    """Return a model pattern, normalised for comparison. Raises ConfigurationError."""
    folded = _fold(text)
    provider, colon, model = folded.partition(":")
    if not (provider and colon and model and folded.isprintable()) or "*" in (
        folded.removesuffix(":*")
    ):
        raise ConfigurationError(f"a model is `provider:model` or `provider:*`, not {text!r}")
    return folded


def _fold(text: str) -> str:
    return text.strip().casefold()
