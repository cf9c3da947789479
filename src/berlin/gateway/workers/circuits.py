"""The states of circuit breakers, in memory that all workers map."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

from berlin.routing.base.circuit import CircuitState

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]  # Windows, where there is one process

_STATE = struct.Struct("<qqdd")
_TRIES = 100


class SharedPlace:
    """The state of one circuit, as a few bytes of a file; see `Place`.

    A change takes microseconds, under a lock that the system releases if the process is killed. A
    process that was stopped in the middle of one does not stop the others: after a moment they go
    on without the lock.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._changed: CircuitState | None = None

    def read(self) -> CircuitState:
        """Return the state."""
        data = os.pread(self._file, _STATE.size, 0)
        if len(data) < _STATE.size:
            return CircuitState()
        failures, is_open, open_until, probed_at = _STATE.unpack(data)
        return CircuitState(failures, bool(is_open), open_until, probed_at)

    def __enter__(self) -> CircuitState:
        for _ in range(_TRIES):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(0.0001)
        self._changed = self.read()
        return self._changed

    def __exit__(self, *exc_info: object) -> None:
        state, self._changed = self._changed, None
        if state is not None:
            data = _STATE.pack(state.failures, state.is_open, state.open_until, state.probed_at)
            os.pwrite(self._file, data, 0)
        fcntl.lockf(self._file, fcntl.LOCK_UN)
