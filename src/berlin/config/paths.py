"""Paths of the user's files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the path of the configuration file, whether it exists or not."""
    given = environ.get("BERLIN_CONFIG")
    if given:
        return Path(given)
    import platformdirs  # not needed if BERLIN_CONFIG is set

    return Path(platformdirs.user_config_dir("berlin", appauthor=False)) / "berlin.toml"


def data_path(name: str) -> Path:
    """Return the path of one of Berlin's data files for this user."""
    import platformdirs

    return Path(platformdirs.user_data_dir("berlin", appauthor=False)) / name
