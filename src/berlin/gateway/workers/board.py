"""A small file in shared memory on which the parent and its workers write their states."""

from __future__ import annotations

import mmap
import struct
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

_HEAD = struct.Struct("<IIIIQ")  # size, workers, was ready, stopping, restarts
_SLOT = struct.Struct("<II")  # process id, state
_BEAT = struct.Struct("<I")  # behind the slots, where the board of an older release ends
_SLOTS_AT = 64


class State(IntEnum):
    """What a worker does."""

    NONE = 0
    STARTING = 1
    READY = 2
    DRAINING = 3


class Entry(NamedTuple):
    """What the board says of one worker."""

    slot: int
    pid: int
    state: State


class Board:
    """The states of all workers. Each value has one writer at a time and is read by all.

    A worker has a slot for as long as it runs. There are twice as many slots as workers, because
    in a rolling restart both generations run.

    Args:
        path: the file; it is created if it does not exist.
        workers: the number of workers, for a new file.
    """

    def __init__(self, path: Path, workers: int = 0) -> None:
        new = not path.exists()
        size = 2 * workers if new else _HEAD.unpack(path.read_bytes()[: _HEAD.size])[0]
        with path.open("a+b") as file:
            self._beats_at = _SLOTS_AT + _SLOT.size * size
            file.truncate(self._beats_at + _BEAT.size * size)
            self._memory = mmap.mmap(file.fileno(), 0)
        if new:
            self._memory[: _HEAD.size] = _HEAD.pack(size, workers, 0, 0, 0)

    @property
    def workers(self) -> int:
        """The configured number of workers."""
        return self._get(1)

    @workers.setter
    def workers(self, count: int) -> None:
        self._set(1, count)

    @property
    def was_ready(self) -> bool:
        """Whether all workers were ready once."""
        return bool(self._get(2))

    @was_ready.setter
    def was_ready(self, value: bool) -> None:
        self._set(2, value)

    @property
    def stopping(self) -> bool:
        """Whether the whole gateway stops."""
        return bool(self._get(3))

    @stopping.setter
    def stopping(self, value: bool) -> None:
        self._set(3, value)

    @property
    def restarts(self) -> int:
        """How often a worker ended unasked and another took its place."""
        return self._get(4)

    @restarts.setter
    def restarts(self, count: int) -> None:
        self._set(4, count)

    def entries(self) -> list[Entry]:
        """Return the running workers."""
        found = []
        for slot in range(self._get(0)):
            pid, state = _SLOT.unpack_from(self._memory, _SLOTS_AT + _SLOT.size * slot)
            if state:
                found.append(Entry(slot, pid, State(state)))
        return found

    def count(self, state: State) -> int:
        """Return how many workers are in a state."""
        return sum(entry.state is state for entry in self.entries())

    def free_slot(self) -> int:
        """Return the lowest slot without a worker."""
        used = {entry.slot for entry in self.entries()}
        return next(slot for slot in range(self._get(0)) if slot not in used)

    def beat(self, slot: int, now: float) -> None:
        """Write that a worker is alive at a time on the monotonic clock; 0 is unknown."""
        _BEAT.pack_into(self._memory, self._beats_at + _BEAT.size * slot, int(now))

    def beat_of(self, slot: int) -> int:
        """Return when a worker was alive last, in seconds on the monotonic clock; 0 if unknown."""
        at: int = _BEAT.unpack_from(self._memory, self._beats_at + _BEAT.size * slot)[0]
        return at

    def write(self, slot: int, pid: int, state: State) -> None:
        """Write the state of a worker."""
        _SLOT.pack_into(self._memory, _SLOTS_AT + _SLOT.size * slot, pid, state)

    def close(self) -> None:
        """Close the file."""
        self._memory.close()

    def _get(self, member: int) -> int:
        value: int = _HEAD.unpack_from(self._memory)[member]
        return value

    def _set(self, member: int, value: int) -> None:
        members = list(_HEAD.unpack_from(self._memory))
        members[member] = int(value)
        _HEAD.pack_into(self._memory, 0, *members)
