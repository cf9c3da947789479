"""What a guarantee is: a function that tries it, and what it saw."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple


class Outcome(NamedTuple):
    """What was tried and what the service saw; `problems` is empty if the guarantee held.

    Attributes:
        tried: what was tried.
        logins: the full logins that the service counted.
        problems: what was not as guaranteed.
        refreshes: the refreshes that the service counted; `None` where there are none.
    """

    tried: str
    logins: int
    problems: list[str]
    refreshes: int | None = None


Guarantee = Callable[[Path], Awaitable[Outcome]]
