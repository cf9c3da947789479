"""Turns whatever a driver raises into one of Berlin's errors, without statement and values."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import DBAPIError

from berlin.errors import BerlinError, UnavailableError

# A statement that waits longer for a slow database counts as failed.
LIMIT_S = 20.0


@asynccontextmanager
async def as_unavailable() -> AsyncIterator[None]:
    """Bound what is done with the database, and raise `UnavailableError` if it fails."""
    try:
        async with asyncio.timeout(LIMIT_S):
            yield
    except BerlinError:
        raise
    except TimeoutError:
        raise UnavailableError("the ledger's database does not answer") from None
    except Exception as error:
        # Drivers have exceptions of every kind; a bug shows in the same place.
        raise UnavailableError(f"the ledger's database: {_said(error)}") from None


def _said(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    first, *_ = str(cause).strip().splitlines() or [""]
    return f"{type(cause).__name__}: {first}"[:300].removesuffix(": ")
