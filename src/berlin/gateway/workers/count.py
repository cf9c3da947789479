"""Chooses the number of workers for a machine."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Literal

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def worker_count(wanted: int | Literal["auto"], quota: Path = _QUOTA) -> int:
    """Return the number of workers.

    Args:
        wanted: a number, or `auto`: one for each core that this process may use, and no more than
            its container has time on.
        quota: the file with the limit of the container (cgroup 2).
    """
    if wanted != "auto":
        return wanted
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cores = os.cpu_count() or 1
    try:
        share, period = quota.read_text("ascii").split()
        cores = min(cores, math.ceil(int(share) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        pass  # no container, or one without a limit ("max")
    return max(cores, 1)
