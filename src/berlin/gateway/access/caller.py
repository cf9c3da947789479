"""Callers and their permissions: one set of rules for keys, accounts and tokens of an issuer."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, TypedDict, TypeVar, get_args

import msgspec

from berlin.config.tables.limits import parse_rule
from berlin.errors import ConfigurationError

Scope: TypeAlias = Literal["chat", "models", "usage"]
"""The things a caller may be allowed: to get answers, list models, see its own usage."""

SCOPES: tuple[Scope, ...] = get_args(Scope)

MAX_NAME_CHARS = 128
MAX_PER_MINUTE = 1_000_000


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The permissions of a key, an account or a token.

    Attributes:
        models: patterns, `provider:model` or `provider:*`; empty allows every model.
        expires_at: seconds since the epoch, or `None` if it does not expire.
        requests_per_minute: the limit, or `None`.
        limits: its own limits, such as `5 USD/day`.
    """

    models: tuple[str, ...] = ()
    expires_at: float | None = None
    requests_per_minute: int | None = None
    limits: tuple[str, ...] = ()


class Caller(Rules, frozen=True, kw_only=True):
    """A client authenticated by a key, a login or an issuer's token, and its permissions.

    Attributes:
        id: its unique id, for limits, fair queueing and logs.
        user: the person that it belongs to; `""` if nobody in particular.
        scopes: what it may do; empty allows everything.
    """

    id: str
    user: str = ""
    scopes: tuple[Scope, ...] = ()

    @property
    def has_limits(self) -> bool:
        """Whether it has limits of its own."""
        return self.requests_per_minute is not None or bool(self.limits)

    def may(self, scope: Scope) -> bool:
        """Return whether it has a scope."""
        return not self.scopes or scope in self.scopes

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


class Given(TypedDict, total=False):
    """The rules of a caller besides its models; see `Caller`."""

    expires_at: float | None
    requests_per_minute: int | None
    user: str
    scopes: tuple[Scope, ...]
    limits: tuple[str, ...]


C = TypeVar("C", bound=Caller)


def check_name(name: str, owner: str) -> None:
    """Raise ConfigurationError if the name of `a key` or `an account` is invalid."""
    if not name.isprintable() or not name.strip() or len(name) > MAX_NAME_CHARS:
        raise ConfigurationError(
            f"{owner}'s name is 1 to {MAX_NAME_CHARS} printable characters, not {name!r}"
        )


def checked(caller: C, owner: str, now: float) -> C:
    """Return a caller with its permissions normalised.

    Args:
        caller: the caller.
        owner: whose permissions they are, such as `a key`.
        now: seconds since the epoch.

    Raises:
        ConfigurationError: if one of them is invalid.
    """
    for scope in caller.scopes:
        if scope not in SCOPES:
            raise ConfigurationError(f"a scope is one of {', '.join(SCOPES)}, not {scope!r}")
    if caller.expires_at is not None and not now < caller.expires_at < math.inf:
        raise ConfigurationError(f"{owner} expires in the future: choose a later time")
    limit = caller.requests_per_minute
    if limit is not None and not 1 <= limit <= MAX_PER_MINUTE:
        raise ConfigurationError(f"requests per minute are 1 to {MAX_PER_MINUTE:,}")
    for text in caller.limits:
        try:
            parse_rule(text)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
    if caller.user:
        check_name(caller.user, f"{owner}'s user")
    return msgspec.structs.replace(
        caller,
        models=tuple(dict.fromkeys(map(model_pattern, caller.models))),
        scopes=tuple(scope for scope in SCOPES if scope in caller.scopes),
        limits=tuple(dict.fromkeys(caller.limits)),
    )


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
