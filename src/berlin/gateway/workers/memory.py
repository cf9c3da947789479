"""Files in memory that all workers of a gateway share."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

from berlin.errors import ConfigurationError


def map_file(path: Path, size: int) -> memoryview:
    """Return the bytes of a file, at first all zeros, as every process sees them.

    Raises:
        ConfigurationError: if there is no room for it.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size < size:  # shorter, it would end a worker that uses it
                os.ftruncate(descriptor, size)
            if sys.platform == "linux":
                # Allocated now: on a full disk, the first use of a page would end the process.
                os.posix_fallocate(descriptor, 0, size)
            return memoryview(mmap.mmap(descriptor, size))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConfigurationError(
            f"{path.parent.parent} has no room for what the workers share ({error.strerror}); set "
            "XDG_RUNTIME_DIR to a folder that has"
        ) from None
