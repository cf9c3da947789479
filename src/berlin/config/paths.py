"""Paths of the user's files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from berlin.errors import ConfigurationError


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the path of the configuration file, whether it exists or not.

    Raises:
        ConfigurationError: if the user has no home folder.
    """
    given = environ.get("BERLIN_CONFIG")
    if given:
        return Path(given)
    return _folder("config") / "berlin.toml"


def data_path(name: str) -> Path:
    """Return the path of one of Berlin's data files for this user. Raises ConfigurationError."""
    return _folder("data") / name


def _folder(kind: Literal["config", "data"]) -> Path:
    import platformdirs  # not needed if BERLIN_CONFIG is set

    find = platformdirs.user_config_dir if kind == "config" else platformdirs.user_data_dir
    try:
        folder = Path(find("berlin", appauthor=False))
    except RuntimeError:
        folder = Path()
    if not folder.is_absolute():  # other folders than the user's could then be meant
        raise ConfigurationError(
            "this user has no home folder: set HOME to a folder that they may write to"
        )
    return folder
