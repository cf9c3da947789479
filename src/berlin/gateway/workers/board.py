"""A small file in shared memory on which the parent and its workers write their states."""

from __future__ import annotations

import sys
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from berlin.gateway.workers.memory import map_file

_HEAD = 16  # numbers of 4 bytes: size, workers, was ready, stopping, restarts, …
_SLOT = 2  # numbers of a slot: process id, state; behind all slots two more of each


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
        return board.numbers[self._place]

    def __set__(self, board: Board, value: int) -> None:
        board.numbers[self._place] = value


class Board:
    """The states of all workers. Each value has one writer at a time and is read by all.

    A worker has a slot for as long as it runs. There are twice as many slots as workers, because
    in a rolling restart both generations run.

    Args:
        path: the file; it is created if it does not exist.
        workers: the number of workers, for a new file.

    Raises:
        ConfigurationError: if there is no room for it.

    Attributes:
        workers: the configured number of workers.
        was_ready: whether all workers were ready once.
        stopping: whether the whole gateway stops.
        restarts: how often a worker ended unexpectedly and another one took its place.
        generation: the number of the configuration that was published last.
        numbers: what all processes see.
    """

    size, workers, was_ready, stopping, restarts, generation = map(_Number, range(6))

    def __init__(self, path: Path, workers: int = 0) -> None:
        new = not path.exists()
        size = 2 * workers if new else int.from_bytes(path.read_bytes()[:4], sys.byteorder)
        # That of an older release is shorter.
        self.numbers = map_file(path, 4 * (_HEAD + (_SLOT + 2) * size)).cast("I")
        if new:
            self.size, self.workers = size, workers

    def entries(self) -> list[Entry]:
        """Return the running workers."""
        found = []
        for slot in range(self.size):
            pid, state = self.numbers[self._at(slot) : self._at(slot + 1)]
            if state:
                found.append(Entry(slot, pid, State(state)))
        return found

    def count(self, state: State) -> int:
        """Return how many workers are in a state."""
        return sum(entry.state is state for entry in self.entries())

    def free_slot(self) -> int:
        """Return the lowest slot without a worker."""
        used = {entry.slot for entry in self.entries()}
        return next(slot for slot in range(self.size) if slot not in used)

    def beat(self, slot: int, now: float) -> None:
        """Write that a worker is alive at a time on the monotonic clock; 0 is unknown."""
        self.numbers[self._at(self.size) + slot] = int(now)

    def beat_of(self, slot: int) -> int:
        """Return when a worker was alive last, in seconds on the monotonic clock; 0 if unknown."""
        return self.numbers[self._at(self.size) + slot]

    def use(self, slot: int, generation: int) -> None:
        """Write which configuration a worker uses."""
        self.numbers[self._at(self.size) + self.size + slot] = generation

    def used_by(self, slot: int) -> int:
        """Return which configuration a worker uses."""
        return self.numbers[self._at(self.size) + self.size + slot]

    def write(self, slot: int, pid: int, state: State) -> None:
        """Write the state of a worker."""
        self.numbers[self._at(slot)] = pid
        self.numbers[self._at(slot) + 1] = state

    def close(self) -> None:
        """Close the file."""
        self.numbers.release()

    def _at(self, slot: int) -> int:
        return _HEAD + _SLOT * slot
