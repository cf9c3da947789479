"""The limit on open files of `berlin serve`."""

from __future__ import annotations

import contextlib

from berlin.cli.terminal import tell

# Open files that are not connections: databases, logs, libraries.
SPARE_FILES = 64


def allow_files(connections: int) -> int:
    """Raise the limit on open files, and return how many connections it allows.

    Each connection of a client may need another one to a service.
    """
    needed = 2 * connections + SPARE_FILES
    try:
        import resource
    except ImportError:  # Windows
        return connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    allowed = max(1, (soft - SPARE_FILES) // 2)
    if allowed < connections:
        tell(
            f"{soft} open files are allowed, so at most {allowed} connections are served; "
            f"max_connections is {connections} (see ulimit -n)"
        )
    return min(connections, allowed)
