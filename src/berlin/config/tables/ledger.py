"""The table `[ledger]`."""

from __future__ import annotations

from typing import Literal

from berlin.config.tables.base import Reference, Table


class LedgerConfig(Table, frozen=True, forbid_unknown_fields=True):
    """The table `[ledger]`: a row for each request that a provider was asked.

    Attributes:
        url: the database, `postgresql://…` or `sqlite:////path/of/a/file`; by default a file of
            this user.
        keep_days: after how many days rows are deleted; by default never.
        journal: the folder where rows are kept until the database has them; by default one of this
            user.
        journal_bytes: the most bytes that are kept there by one process.
        on_failure: when a row can be written nowhere: `refuse`, the request is not sent;
            `continue`, it is sent and has no row.
        currency: the currency of the prices, for reports.
    """

    url: str | Reference | None = None
    keep_days: int | None = None
    journal: str | None = None
    journal_bytes: int = 268_435_456
    on_failure: Literal["refuse", "continue"] = "refuse"
    currency: str = ""

    def __post_init__(self) -> None:
        if self.keep_days is not None and self.keep_days < 1:
            raise ValueError("keep_days must be 1 or more")
        if self.journal_bytes < 65_536:
            raise ValueError("journal_bytes must be 65536 or more")
