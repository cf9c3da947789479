"""Providers that are used with the login of each user: `account = "{key.user}"`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from berlin.auth.credentials import NAMES, USER_NAMES
from berlin.errors import ConfigurationError

if TYPE_CHECKING:
    from berlin.config.schema import ProviderConfig

PLACEHOLDER = "{key.user}"

# A user's name becomes a part of paths, of environment variables and of arguments of programs.
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,127}")


def is_per_user(table: ProviderConfig) -> bool:
    """Return whether a provider's credentials name the user of the key that asks."""
    return any(_mentions(getattr(table, name)) for name in NAMES)


def check_per_user(name: str, table: ProviderConfig) -> None:
    """Raise ValueError if a provider cannot be used with the login of each user."""
    if not is_per_user(table):
        return
    if not any(_mentions(getattr(table, field)) for field in USER_NAMES):
        raise ValueError(
            f"providers.{name}: {PLACEHOLDER} must be in what belongs to a user, such as account "
            "or api_key"
        )
    if name == "berlin":
        raise ValueError(
            f"providers.{name}: {PLACEHOLDER} needs another name of the provider, because the "
            "environment (BERLIN_ACCOUNT) has precedence for this one"
        )


def for_user(table: ProviderConfig, user: str) -> ProviderConfig:
    """Return the table of a provider for one user.

    Raises:
        ConfigurationError: if the name of the user cannot be part of it.
    """
    if not _SAFE.fullmatch(user):
        raise ConfigurationError(
            f"the user {user[:100]!r} has no login of its own: such a name consists of ASCII "
            "letters, digits and _ . @ + -"
        )
    given = {name: _replace(getattr(table, name), user) for name in NAMES}
    return msgspec.structs.replace(table, **given)


def _mentions(value: object) -> bool:
    if isinstance(value, str):
        return PLACEHOLDER in value
    if isinstance(value, msgspec.Struct):
        return any(_mentions(part) for part in msgspec.structs.astuple(value))
    return isinstance(value, tuple) and any(map(_mentions, value))


def _replace(value: Any, user: str) -> Any:
    if isinstance(value, str):
        return value.replace(PLACEHOLDER, user)
    if isinstance(value, tuple):
        return tuple(_replace(part, user) for part in value)
    if isinstance(value, msgspec.Struct):
        parts = msgspec.structs.asdict(value).items()
        return msgspec.structs.replace(
            value, **{name: _replace(part, user) for name, part in parts}
        )
    return value
