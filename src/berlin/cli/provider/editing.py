"""Edits `berlin.toml`, preserving comments, order and spacing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from berlin.auth.tokens.private_file import replace_file
from berlin.config import Config
from berlin.errors import ConfigurationError
from berlin.language.toml import parse_toml

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

MARK = "\ufeff"

Value = str | bool | tuple[str, ...] | dict[str, str]


def set_provider(
    path: Path, name: str, values: Mapping[str, Value], default: str | None = None
) -> None:
    """Write the table `[providers.NAME]`; other keys of an existing one stay.

    Args:
        path: the configuration file; created if missing.
        default: the default provider, for a file that names none.

    Raises:
        ConfigurationError: if the file cannot be read or written, or would be wrong.
    """
    import tomlkit

    document, mark = _open(path)
    providers = document.setdefault("providers", tomlkit.table(is_super_table=True))
    table = providers.get(name)
    if table is None:
        table = providers[name] = tomlkit.table()
    for key, value in values.items():
        if isinstance(value, dict):
            inline = tomlkit.inline_table()
            inline.update(value)
            table[key] = inline
        else:
            table[key] = list(value) if isinstance(value, tuple) else value
    if default is not None:
        document.setdefault("default", default)
    text = tomlkit.dumps(document)
    if "\r\n" in text:  # a file from Windows stays one
        text = text.replace("\r\n", "\n").replace("\n", "\r\n")
    _write(path, mark + text)


def remove_provider(path: Path, name: str) -> bool:
    """Remove the table of a provider; return whether there was one. Raises ConfigurationError."""
    import tomlkit

    document, mark = _open(path)
    providers = document.get("providers", {})
    if name not in providers:
        return False
    del providers[name]
    if not providers:
        del document["providers"]
    if document.get("default") == name:
        del document["default"]
    _write(path, mark + tomlkit.dumps(document).lstrip("\r\n"))
    return True


def _open(path: Path) -> tuple[TOMLDocument, str]:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        # Keep line ends as they are, also those from Windows.
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    mark = MARK if text.startswith(MARK) else ""
    try:
        return tomlkit.parse(text.removeprefix(MARK)), mark
    except TOMLKitError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from error


def _write(path: Path, text: str) -> None:
    """Replace a file's text atomically; its mode and a link to it stay."""
    parse_toml(text, str(path), Config)
    target = path.resolve()
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
        replace_file(target, text.encode(), mode)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from error
