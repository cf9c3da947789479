"""Ids that tell one thing from another. They are no secrets: who knows one may guess the next."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator


def unique_hex() -> str:
    """Return 32 hex digits that come once: 64 random bits of this process, and a count.

    A `uuid4` asks the operating system each time, which costs more than the rest of an id.
    """
    return next(_ids)


def _make_ids() -> Iterator[str]:
    process = os.urandom(8).hex()
    return (f"{process}{n:016x}" for n in itertools.count())


def _renew() -> None:
    global _ids
    _ids = _make_ids()


_ids = _make_ids()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
