"""Where a user's files are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the configuration file is, or would be."""
    given = environ.get("BERLIN_CONFIG")
    if given:
        return Path(given)
    import platformdirs  # only who has no BERLIN_CONFIG needs it

    return Path(platformdirs.user_config_dir("berlin", appauthor=False)) / "berlin.toml"


def data_path(name: str) -> Path:
    """Return where a file of ours is kept for this user."""
    import platformdirs

    return Path(platformdirs.user_data_dir("berlin", appauthor=False)) / name
