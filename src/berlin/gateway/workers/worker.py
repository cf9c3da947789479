"""A process as one of several workers: its state, and what it shares with the others."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import time
from pathlib import Path

from berlin.gateway.workers.board import Board, State
from berlin.gateway.workers.circuits import SharedPlace
from berlin.gateway.workers.memory import map_file
from berlin.gateway.workers.slots import SharedSlots

BEAT_S = 1.0


class Worker:
    """One of the workers of a gateway.

    Args:
        slot: its number while it runs; a later worker may have it again.
        folder: the folder of files that all workers share; it ends with the gateway.
        first: whether it is the first one of a gateway that starts, which says what is wrong.
        wake: a descriptor to write to when the parent should look at the board; -1 for none.
        lifeline: a descriptor that is at its end when the parent is gone; -1 for none.
    """

    def __init__(
        self, slot: int, folder: Path, *, first: bool = False, wake: int = -1, lifeline: int = -1
    ) -> None:
        self.slot = slot
        self.folder = folder
        self.first = first
        self.lifeline = lifeline
        self.board = Board(folder / "board")
        self._wake = wake
        self._slots: dict[str, SharedSlots] = {}
        self._circuits: dict[str, SharedPlace] = {}

    @property
    def problem(self) -> str:
        """Why the gateway as a whole accepts no requests; `""` if it does."""
        if self.board.stopping:
            return "stopping"
        return "" if self.board.was_ready else "starting"

    def report(self, state: State) -> None:
        """Tell the parent and the other workers of a state."""
        self.board.write(self.slot, os.getpid(), state)
        self._wake_parent()

    def use(self, generation: int) -> None:
        """Tell the parent which configuration this worker uses from now on."""
        self.board.use(self.slot, generation)
        self._wake_parent()

    async def beat_forever(self) -> None:
        """Show the parent that this worker's event loop runs."""
        while True:
            self.board.beat(self.slot, time.monotonic())
            await asyncio.sleep(BEAT_S)

    def secret(self, purpose: str) -> bytes:
        """Return a key for a purpose that only the workers of this gateway know."""
        secret = (self.folder / "secret").read_bytes()
        return hmac.new(secret, purpose.encode(), hashlib.sha256).digest()

    def memory(self, name: str, size: int) -> memoryview:
        """Return memory that all workers share, at first all zeros.

        Args:
            name: its name among those of this gateway.
            size: its size in bytes.

        Raises:
            ConfigurationError: if there is no room for it.
        """
        return map_file(self.folder / name, size)

    def slots(self, name: str) -> SharedSlots:
        """Return the slots of a name, which all workers share."""
        if name not in self._slots:
            self._slots[name] = SharedSlots(self._path("slots", name))
        return self._slots[name]

    def circuit(self, name: str) -> SharedPlace:
        """Return the state of a provider's circuit breaker, which all workers share."""
        if name not in self._circuits:
            self._circuits[name] = SharedPlace(self._path("circuit", name))
        return self._circuits[name]

    def _wake_parent(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake, b"s")

    def _path(self, kind: str, name: str) -> Path:
        return self.folder / f"{kind}-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
