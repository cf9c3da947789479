"""Values of the configuration file that refer to a variable, a file, a keyring or a program."""

from __future__ import annotations

import re
from collections.abc import Mapping

from berlin.auth.secret_sources import (
    CallerSecret,
    CommandSecret,
    FileSecret,
    KeyringSecret,
    SecretSource,
)
from berlin.config.tables.base import Reference
from berlin.errors import ConfigurationError


def resolve_secret(
    value: str | Reference | None, key: str, environ: Mapping[str, str]
) -> str | SecretSource | None:
    """Return a value of the file, or the source it is read from again for each login.

    Raises:
        ConfigurationError: if it names an environment variable that is not set, or is empty.
    """
    match value:
        case Reference(file=file, at=at) if file:
            return FileSecret(file, at)
        case Reference(keyring=entry) if entry:
            service, _, name = entry.partition("/")
            return KeyringSecret(service, name)
        case Reference(command=command) if command:
            return CommandSecret(command)
        case Reference(caller=True):
            return CallerSecret()
    text = resolve_value(value, key, environ)
    if text == "" and isinstance(value, Reference):
        raise ConfigurationError(
            f"{key} comes from the environment variable {value.env}, which is empty"
        )
    return text


def resolve_value(
    value: str | Reference | None, key: str, environ: Mapping[str, str]
) -> str | None:
    """Return a value of the file, or what it refers to.

    Raises:
        ConfigurationError: if that cannot be read; the error names the key and the source.
    """
    if not isinstance(value, Reference):
        return value
    if not value.env:
        source = resolve_secret(value, key, environ)
        return None if source is None or isinstance(source, str) else source.read()
    if value.env not in environ:
        raise ConfigurationError(
            f"{key} comes from the environment variable {value.env}, which is not set"
        )
    return environ[value.env]


def unknown_store(key: str, name: str, expected: str) -> ConfigurationError:
    """Return the error about a store that does not exist.

    It shows a word or a scheme only: the rest may be a password, or another secret in its place.
    """
    word = re.match(r"[a-z]{1,12}(?=:|$)", name)
    given = repr(word[0]) if word else "something else"
    return ConfigurationError(f"{key} is {given}; expected {expected}")
