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
    """The states of a worker."""

    NONE = 0
    STARTING = 1
    READY = 2
    DRAINING = 3


class Entry(NamedTuple):
    """A worker on the board."""

    slot: int
    pid: int
    state: State


class _Number:
    """A number in the head of the board, by its place."""

    def __init__(self, place: int) -> None:
        self._place = place

    def __get__(self, board: Board, _: type[Board]) -> int:
        value: int = _HEAD.unpack_from(board.memory)[self._place]
        return value

    def __set__(self, board: Board, value: int) -> None:
        values = list(_HEAD.unpack_from(board.memory))
        values[self._place] = int(value)
        _HEAD.pack_into(board.memory, 0, *values)


class Board:
    """The states of all workers. Each value has one writer at a time and is read by all.

    A worker has a slot for as long as it runs. There are twice as many slots as workers, because
    in a rolling restart both generations run.

    Args:
        path: the file; it is created if it does not exist.
        workers: the number of workers, for a new file.

    Attributes:
        workers: the configured number of workers.
        was_ready: whether all workers were ready once.
        stopping: whether the whole gateway stops.
        memory: what all processes see.
        restarts: how often a worker ended unexpectedly and another one took its place.
    """

    workers, was_ready, stopping, restarts = map(_Number, range(1, 5))

    def __init__(self, path: Path, workers: int = 0) -> None:
        new = not path.exists()
        size = 2 * workers if new else _HEAD.unpack(path.read_bytes()[: _HEAD.size])[0]
        self._size: int = size
        with path.open("a+b") as file:
            self._beats_at = _SLOTS_AT + _SLOT.size * size
            file.truncate(self._beats_at + _BEAT.size * size)
            self.memory = mmap.mmap(file.fileno(), 0)
        if new:
            self.memory[: _HEAD.size] = _HEAD.pack(size, workers, 0, 0, 0)

    def entries(self) -> list[Entry]:
        """Return the running workers."""
        found = []
        for slot in range(self._size):
            pid, state = _SLOT.unpack_from(self.memory, _SLOTS_AT + _SLOT.size * slot)
            if state:
                found.append(Entry(slot, pid, State(state)))
        return found

    def count(self, state: State) -> int:
        """Return how many workers are in a state."""
        return sum(entry.state is state for entry in self.entries())

    def free_slot(self) -> int:
        """Return the lowest slot without a worker."""
        used = {entry.slot for entry in self.entries()}
        return next(slot for slot in range(self._size) if slot not in used)

    def beat(self, slot: int, now: float) -> None:
        """Write that a worker is alive at a time on the monotonic clock; 0 is unknown."""
        _BEAT.pack_into(self.memory, self._beats_at + _BEAT.size * slot, int(now))

    def beat_of(self, slot: int) -> int:
        """Return when a worker was alive last, in seconds on the monotonic clock; 0 if unknown."""
        at: int = _BEAT.unpack_from(self.memory, self._beats_at + _BEAT.size * slot)[0]
        return at

    def write(self, slot: int, pid: int, state: State) -> None:
        """Write the state of a worker."""
        _SLOT.pack_into(self.memory, _SLOTS_AT + _SLOT.size * slot, pid, state)

    def close(self) -> None:
        """Close the file."""
        self.memory.close()
