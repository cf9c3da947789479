"""Stores of responses that behave as a test wants."""

from __future__ import annotations

import threading

from berlin.gateway.stored.record import Record
from berlin.gateway.stored.sqlite import SqliteEngine


class SlowEngine(SqliteEngine):
    """An engine that stores only when it may."""

    def __init__(self) -> None:
        super().__init__(None, 60, 100, 10**6)
        self.asked, self.may = threading.Event(), threading.Event()

    def put(self, record: Record) -> None:
        """Store when the test says so."""
        self.asked.set()
        self.may.wait(30)
        super().put(record)
