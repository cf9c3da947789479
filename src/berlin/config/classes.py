"""Providers of the user's own, written in Python: `class = "package.module:Name"`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

from berlin.config.references import resolve_value
from berlin.config.tables.base import Reference
from berlin.errors import BerlinError, ConfigurationError
from berlin.providers.facade import ChatProvider


def make_of_class(
    name: str,
    path: str,
    options: Mapping[str, Any],
    environ: Mapping[str, str] = os.environ,
) -> ChatProvider:
    """Instantiate a provider class.

    Args:
        name: the provider's name, for errors.
        path: where the class is: `package.module:Name`.
        options: the keyword arguments for it; `{ env = "NAME" }` is a variable's value.

    Raises:
        ConfigurationError: if the class cannot be loaded or instantiated, or is not a provider.
    """
    where = f"providers.{name}"
    kind = _load(path, where)
    given = {
        key: resolve_value(Reference(env=value["env"]), f"{where}.options.{key}", environ)
        if isinstance(value, Mapping) and value.keys() == {"env"}
        else value
        for key, value in options.items()
    }
    try:
        provider = kind(**given)
    except BerlinError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"{where}: {path} cannot be created: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(provider, ChatProvider):
        raise ConfigurationError(f"{where}: {path} is not a provider; derive it from ChatProvider")
    return provider


def _load(path: str, where: str) -> Any:
    module, _, name = path.partition(":")
    if not module or not name:
        raise ConfigurationError(f'{where}: class = {path!r}; expected "package.module:Name"')
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise ConfigurationError(
            f"{where}: {path} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not callable(found):
        raise ConfigurationError(f"{where}: {path} is not a class")
    return found
