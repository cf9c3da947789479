"""The package as it is built."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.manual import ROOT


def build_wheel(folder: Path) -> Path:
    """Build a wheel of the source, and return it."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1735689600"},
        check=True,
        capture_output=True,
    )
    [made] = folder.glob("*.whl")
    return made
