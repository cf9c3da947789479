"""The table `[ledger]`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from berlin.config.tables.base import Count, Reference, Table


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
    keep_days: Count | None = None
    journal: str | None = None
    journal_bytes: Annotated[int, msgspec.Meta(ge=65_536)] = 268_435_456
    on_failure: Literal["refuse", "continue"] = "refuse"
    currency: str = ""
