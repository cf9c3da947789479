"""Records requests: each is written to the journal immediately, and to the database soon after."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from berlin.errors import UnavailableError
from berlin.ledger.entry import Entry
from berlin.ledger.figures import Figures, Query
from berlin.ledger.journal import Journal, JournalFullError
from berlin.ledger.writer import LedgerCounts, Writer

if TYPE_CHECKING:
    from berlin.ledger.database.store import Store

# Rows that the disk did not take, and that are tried again.
MAX_UNWRITTEN = 10_000
RETRY_AFTER_S = 5.0

_log = logging.getLogger("berlin.ledger")


class Recorder:
    """The ledger of this process.

    Args:
        folder: the folder of the journals.
        journal_bytes: the most bytes that wait for the database.
        open_rows: opens the database.
        on_failure: what to do with a request when its row can be written nowhere: `refuse` it, or
            `continue` and count the row as lost.
        keep_days: after how many days rows are deleted; `None` keeps them.
        clock: seconds since the epoch.

    Raises:
        OSError: if the journal cannot be created.
    """

    def __init__(
        self,
        folder: Path,
        journal_bytes: int,
        open_rows: Callable[[], Store],
        on_failure: Literal["refuse", "continue"] = "refuse",
        keep_days: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._journal = Journal(folder, journal_bytes)
        self._writer = Writer(self._journal, folder, open_rows, keep_days, clock)
        self._counts = self._writer.counts
        self._refuses = on_failure == "refuse"
        self._unwritten: deque[Entry] = deque()
        self._fails = False
        self._reported = False

    @property
    def counts(self) -> LedgerCounts:
        """Its counts since the start."""
        self._counts.waiting_bytes = self._journal.waiting_bytes
        return self._counts

    @property
    def problem(self) -> str:
        """Why requests are refused at present; `""` if they are not."""
        if self._refuses and (self._journal.is_full or (self._fails and not self._recovers())):
            return "the ledger is full"
        return ""

    def begin(self, entry: Entry) -> None:
        """Record that a request is about to be sent to a provider.

        Raises:
            UnavailableError: if it cannot be recorded, and such requests are refused.
        """
        try:
            self._write(entry)
            self._reported = False
        except OSError as error:
            self._note_failure(error)
            if self._refuses:
                self._counts.refused += 1
                raise UnavailableError(
                    "the ledger is full: this request cannot be recorded, so it was not sent",
                    retry_after=RETRY_AFTER_S,
                ) from None

    def end(self, entry: Entry) -> None:
        """Record the row of a request that has ended; never raises."""
        try:
            self._write(entry)
        except JournalFullError:
            self._counts.lost += 1  # its beginning was not accepted either
        except OSError as error:
            self._note_failure(error)
            if len(self._unwritten) < MAX_UNWRITTEN:
                self._unwritten.append(entry)
            else:
                self._counts.lost += 1
        else:
            self._writer.wake()

    async def sums(self, query: Query) -> list[Figures]:
        """Sum up rows. Raises UnavailableError if the database is away."""
        return await self._writer.sums(query)

    def close(self) -> None:
        """Deliver the rest, in bounded time; what the database does not take is kept on disk."""
        self._recovers()
        self._counts.lost += len(self._unwritten)
        if self._writer.close():
            waiting = self._journal.waiting_bytes
            self._journal.close()
            if waiting:
                _log.warning("ledger.kept %d bytes of rows, for the next start", waiting)

    def _write(self, entry: Entry) -> None:
        if self._fails and not self._recovers():
            raise OSError("the disk of the ledger does not take anything")
        self._journal.write(entry)

    def _recovers(self) -> bool:
        """Write what the disk did not take before; return whether it works again."""
        if not self._journal.probe():
            return False
        try:
            while self._unwritten:
                self._journal.write(self._unwritten[0])
                self._unwritten.popleft()
        except OSError:
            return False
        finally:
            self._writer.wake()
        self._fails = False
        return True

    def _note_failure(self, error: OSError) -> None:
        if not isinstance(error, JournalFullError):
            self._fails = True
        if not self._reported:
            self._reported = True
            _log.error("ledger.full %s", error.strerror or error)
