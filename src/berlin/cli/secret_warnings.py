"""Warnings on stderr about plaintext secrets in a file."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from berlin.auth.sharing import shared_bits
from berlin.cli.terminal import warn
from berlin.config.files import doubts
from berlin.language.secrets_scan import FoundSecret, find_secrets

MOST_WARNINGS = 10


def warn_of_secrets(source: str, path: Path | None, found: list[FoundSecret]) -> None:
    """Warn about secrets in a recipe, and about others who can read it.

    Args:
        source: the file's name, as the user knows it.
        path: the file; `None` if it came with Berlin.
        found: what looks like a secret in it.
    """
    for secret in found:
        at = f"{secret.key} is" if secret.key else "this line has"
        warn(
            f"{source}, line {secret.line}: {at} {secret.what} in plain text; write a placeholder "
            "such as {api_key} or {password} there"
        )
    if found and path is not None and _is_open(path):
        warn(f"others can read {source}, which holds that; run: chmod 600 {path}")


def warn_of_changeable(paths: Iterable[Path]) -> None:
    """Warn about files that decide where passwords are sent and that other users may change."""
    for path in paths:
        doubt = doubts(path)
        if doubt:
            warn(f"{path} decides where passwords are sent, and {doubt}")


def warn_of_config(path: Path) -> None:
    """Warn about secrets in a configuration file that others can read."""
    if not _is_open(path):
        return
    try:
        found = find_secrets(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return  # loading it reports that
    for secret in found[:MOST_WARNINGS]:
        warn(
            f"{path}, line {secret.line}: {secret.key or 'this line'} is in plain text, and others "
            f'can read the file; run: chmod 600 {path}, or write {{ env = "NAME" }}'
        )
    if len(found) > MOST_WARNINGS:
        warn(f"{path}: {len(found) - MOST_WARNINGS} more lines hold such secrets")


def _is_open(path: Path) -> bool:
    """Return whether other users of this machine can read a file; on Windows always `False`."""
    try:
        status = path.stat()
        return stat.S_ISREG(status.st_mode) and bool(shared_bits(path, status) & 0o044)
    except OSError:
        return False
