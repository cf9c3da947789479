"""Journals of processes that are gone: killed, or stopped while the database was away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from berlin.ledger.entry import INTERRUPTED, Entry
from berlin.ledger.lock import HAS_LOCKS, FileLock
from berlin.ledger.segment import rows_in

BATCH_ROWS = 500


class LeftBehind:
    """A journal without a process, locked by this one.

    Args:
        folder: the folder of the journals.
        name: the journal's name.
        lock: its lock, which is held.
    """

    def __init__(self, folder: Path, name: str, lock: FileLock) -> None:
        self.name = name
        self._paths = sorted(folder.glob(f"{name}-*.jsonl"))
        self._lock = lock

    def batches(self) -> Iterator[list[Entry]]:
        """Yield its rows; at last those of requests that its process did not finish.

        Raises:
            OSError: if a file cannot be read.
        """
        unfinished: dict[str, Entry] = {}
        batch: list[Entry] = []
        for path in self._paths:
            with path.open("rb") as file:
                for entry in rows_in(file):
                    if entry.is_open:
                        unfinished[entry.id] = entry
                        continue
                    unfinished.pop(entry.id, None)
                    batch.append(entry)
                    if len(batch) >= BATCH_ROWS:
                        yield batch
                        batch = []
        batch += [
            msgspec.structs.replace(entry, outcome=INTERRUPTED) for entry in unfinished.values()
        ]
        if batch:
            yield batch

    def remove(self) -> None:
        """Delete it: the database has its rows."""
        for path in self._paths:
            path.unlink(missing_ok=True)
        self._lock.release(remove=True)


def find_left_behind(folder: Path) -> Iterator[LeftBehind]:
    """Yield the journals whose process is gone; each is locked until the next one is asked for."""
    for path in sorted(folder.glob("*.lock")) if HAS_LOCKS else ():
        lock = FileLock(path)
        if lock.take():
            try:
                yield LeftBehind(folder, path.stem, lock)
            finally:
                lock.release()
